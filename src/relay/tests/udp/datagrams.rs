//! What arrives, and at whom.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tokio::net::UdpSocket;

use crate::bench::{Bench, client, converse, echo, hear, in_time, listening, socket, until};

/// Nothing, something, an Ethernet frame, and the most that IPv4 allows.
const SIZES: [usize; 4] = [0, 1, 1472, 65_507];

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_every_size_pass_whole_for_several_clients_at_a_time() {
    const CLIENTS: u8 = 4;
    let bench = Bench::new().await;
    echo(bench.service);

    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            tokio::spawn(async move {
                let client = client(bench.address).await;
                for size in SIZES {
                    let datagram = noise(number, size);
                    client.send(&datagram).await.unwrap();
                    assert!(
                        hear(&client).await.0 == datagram,
                        "{size} bytes of client {number}"
                    );
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }

    let counters = bench.forwarder.counters();
    let bytes = u64::from(CLIENTS) * SIZES.iter().sum::<usize>() as u64;
    assert_eq!((counters.bytes_in, counters.bytes_out), (bytes, bytes));
    let flows = usize::from(CLIENTS);
    assert_eq!(
        (counters.connections, counters.accepted),
        (flows, u64::from(CLIENTS))
    );
    assert_eq!((counters.refused(), counters.dial_failures), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_that_wait_together_stay_apart() {
    let bench = Bench::new().await;
    let (client, flow) = bench.connect().await;
    let said: [&[u8]; 4] = [b"one", b"", b"two", b"three"];

    for datagram in said {
        client.send(datagram).await.unwrap();
    }
    for datagram in said {
        assert_eq!(hear(&bench.service).await, (datagram.to_vec(), flow));
    }
    for datagram in said {
        bench.service.send_to(datagram, flow).await.unwrap();
    }
    for datagram in said {
        assert_eq!(hear(&client).await.0, datagram);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_to_the_client_that_asked_in_whatever_order() {
    let bench = Bench::new().await;
    let (one, to_one) = bench.knock().await;
    let (other, to_other) = bench.knock().await;
    assert_ne!(to_one, to_other, "each has a socket of its own");

    bench.service.send_to(b"for the other", to_other).await.unwrap();
    bench.service.send_to(b"for the one", to_one).await.unwrap();

    assert_eq!(hear(&one).await.0, b"for the one");
    assert_eq!(hear(&other).await.0, b"for the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_from_the_address_that_was_asked() {
    let mut bench = Bench::new().await;
    let second = bench.forwarder.listen(listening()).unwrap();
    let client = socket().await;
    let mut flows = Vec::new();
    for address in [bench.address, second] {
        client.send_to(b"who are you?", address).await.unwrap();
        flows.push(hear(&bench.service).await.1);
    }

    for (flow, address) in flows.into_iter().zip([bench.address, second]) {
        bench.service.send_to(b"me", flow).await.unwrap();
        assert_eq!(hear(&client).await, (b"me".to_vec(), address));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_target_is_heard_at_an_upstream_socket() {
    let bench = Bench::new().await;
    let (client, flow) = bench.connect().await;

    let stranger = socket().await;
    stranger.send_to(b"listen to me", flow).await.unwrap();

    // What the stranger said would have come before this.
    converse(&client, &bench.service).await;
    assert_eq!(bench.forwarder.counters().bytes_out, 8, "two answers");
}

/// The runtime has one thread, and the flood another: whoever gives way too seldom holds up all others.
#[tokio::test]
async fn a_client_that_is_flooded_and_does_not_read_keeps_no_answers_from_others() {
    let bench = Bench::new().await;
    let (_deaf, to_deaf) = bench.connect().await;
    let (client, to_client) = bench.connect().await;
    let service = bench.service.into_std().unwrap();
    let _flood = Flood::start(service.try_clone().unwrap(), to_deaf);
    let service = UdpSocket::from_std(service).unwrap();
    until("the flood is on", || {
        bench.forwarder.counters().bytes_out > 1_000_000
    })
    .await;

    for _ in 0..20 {
        client.send(b"ping").await.unwrap();
        assert_eq!(hear(&service).await, (b"ping".to_vec(), to_client));
        // The flood may leave the service no room for a moment.
        in_time(service.send_to(b"pong", to_client)).await.unwrap();
        assert_eq!(hear(&client).await.0, b"pong");
    }
}

/// See above.
#[tokio::test]
async fn a_client_that_floods_keeps_no_answers_from_others() {
    let bench = Bench::new().await;
    let (client, to_client) = bench.connect().await;
    let (loud, _) = bench.connect().await;
    let _flood = Flood::start(loud.into_std().unwrap(), bench.address);
    until("the flood is on", || {
        bench.forwarder.counters().bytes_in > 1_000_000
    })
    .await;

    for number in 0..20_u8 {
        bench.service.send_to(&[number], to_client).await.unwrap();
        assert_eq!(hear(&client).await.0, [number]);
    }
}

/// A thread that sends without end, until this is dropped.
struct Flood {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(from: std::net::UdpSocket, to: SocketAddr) -> Self {
        let ends = Arc::<AtomicBool>::default();
        let end = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let datagram = noise(0, 1000);
            while !end.load(Ordering::Relaxed) {
                let _no_room = from.send_to(&datagram, to);
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join).transpose().unwrap();
    }
}

/// Bytes without a short period, others for every client.
fn noise(client: u8, length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ u64::from(client);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}
