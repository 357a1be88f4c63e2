//! Bulk data of many connections at once: all of it arrives, only some of them have a way through the kernel, and none keeps
//! it while it is silent. Alone in its program, as it counts the descriptors of the whole process.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wslnet_relay::{Budget, Forwarder, Gate, Lanes, Limits};

const DEADLINE: Duration = Duration::from_secs(60);
/// More connections than there are pipes.
const CONNECTIONS: usize = 6;
const PIPES: usize = 3;
/// More than the socket buffers on the way hold, so that data is stuck until somebody reads.
const MUCH: usize = 24 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn bulk_data_goes_through_a_few_pipes_and_arrives_whole() {
    let before = pipe_ends();
    let pipes = || pipe_ends().saturating_sub(before) / 2;
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let budget = Budget::new(Limits {
        pipes: PIPES,
        ..Limits::default()
    });
    let lanes = Lanes::default();
    let mut forwarder = Forwarder::new(service.local_addr().unwrap(), Arc::new(Open), budget, &lanes);
    let address = forwarder
        .listen(std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .unwrap();
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    for number in 0..CONNECTIONS {
        let mut client = TcpStream::connect(address).await.unwrap();
        receivers.push(service.accept().await.unwrap().0);
        senders.push(tokio::spawn(async move {
            client.write_all(&noise(number)).await.unwrap();
            client
        }));
    }

    until("all pipes are taken", || pipes() == PIPES).await;
    let mut read = Vec::new();
    for (number, mut receiver) in receivers.into_iter().enumerate() {
        read.push(tokio::spawn(async move {
            let mut received = vec![0; MUCH];
            receiver.read_exact(&mut received).await.unwrap();
            assert!(received == noise(number), "connection {number}");
            receiver
        }));
    }
    let mut kept = Vec::new();
    for task in senders.into_iter().chain(read) {
        kept.push(tokio::time::timeout(DEADLINE, task).await.unwrap().unwrap());
    }

    assert!(pipes() <= PIPES);
    until("silent connections have given their pipes back", || pipes() == 0).await;
    assert_eq!(forwarder.counters().connections, CONNECTIONS);
    assert_eq!(forwarder.counters().bytes_in, (CONNECTIONS * MUCH) as u64);
}

#[derive(Debug)]
struct Open;

impl Gate for Open {
    fn admits(&self, _client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        Ok(())
    }

    fn permits(&self, _target: SocketAddr) -> Result<(), String> {
        Ok(())
    }
}

/// Bytes that repeat neither within a read nor between connections.
fn noise(seed: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut bytes = Vec::with_capacity(MUCH);
    while bytes.len() < MUCH {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes
}

/// Ends of pipes that this process has; its output may be one.
fn pipe_ends() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("pipe:"))
        .count()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
