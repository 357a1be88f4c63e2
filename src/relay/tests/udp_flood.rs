//! Ten thousand sources, as somebody would forge them: what they cost is bounded, and whoever was answered notices
//! nothing. Alone in its program, as descriptors and memory are counted for the whole process.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use wslnet_relay::{Budget, Gate, Lanes, Limits, UdpForwarder};

const DEADLINE: Duration = Duration::from_secs(20);
const SOURCES: u32 = 10_000;
/// Few enough for the queue of a socket, however busy the machine: what does not fit would be lost, and not counted.
const VOLLEY: u32 = 50;
/// What the lanes and the test itself may have open besides.
const OTHERS: usize = 8;
/// Flows hold a socket, a task and an entry each. A buffer for each, of 64 KiB, would be twice as much.
const MEMORY: usize = 32 << 20;

#[test]
fn ten_thousand_sources_cost_no_more_than_the_limit_and_put_nobody_out() {
    // So long that nothing but the limit holds them.
    let limits = Limits {
        flow_timeout: Duration::from_secs(600),
        unanswered_timeout: Duration::from_secs(600),
        ..Limits::default()
    };
    raise_descriptors();
    let (service, budget) = (bind(Ipv4Addr::LOCALHOST), Budget::new(limits));
    let lanes = Lanes::default();
    let target = service.local_addr().unwrap();
    let mut forwarder = UdpForwarder::new(target, Arc::new(Open), Arc::clone(&budget), &lanes);
    let address = forwarder.listen(bind(Ipv4Addr::LOCALHOST)).unwrap();
    let client = bind(Ipv4Addr::LOCALHOST);
    client.connect(address).unwrap();
    client.send(b"before").unwrap();
    let flow = answer(&service, b"before");
    assert_eq!(hear(&client).0, b"before");
    let (descriptors, memory) = (open_descriptors(), resident());

    for first in (0..SOURCES).step_by(VOLLEY as usize) {
        for number in first..first + VOLLEY {
            let [_, _, high, low] = number.to_be_bytes();
            let source = bind(Ipv4Addr::new(127, 77, high, low));
            source.send_to(b"flood", address).unwrap();
        }
        // By what was sent on: clients are counted before that, and the service's queue is looked at below.
        let carried = b"before".len() as u64 + b"flood".len() as u64 * u64::from(first + VOLLEY);
        wait_until(|| forwarder.counters().bytes_in == carried);
        assert_eq!(forwarder.counters().accepted, u64::from(first + VOLLEY) + 1);
        let open = open_descriptors();
        assert!(
            open <= descriptors + limits.flows_per_forward + OTHERS,
            "{open} descriptors"
        );
        assert!(budget.flows() <= limits.flows_per_forward);
        // The queue of the service must keep its room, too.
        drain(&service);
    }

    assert_eq!(
        budget.flows(),
        limits.flows_per_forward,
        "the limit is what held them"
    );
    let grown = resident().saturating_sub(memory);
    assert!(grown < MEMORY, "{grown} bytes more than before");
    assert_eq!(forwarder.counters().refused_by_limit, 0, "each found a place");
    client.send(b"after").unwrap();
    assert_eq!(answer(&service, b"after"), flow, "in its flow of before");
    assert_eq!(hear(&client).0, b"after");
    drop(forwarder);
    wait_until(|| budget.flows() == 0 && open_descriptors() <= descriptors + OTHERS);
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

/// The usual 1,024 would not do for so many flows.
fn raise_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

fn bind(address: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn hear(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut said = vec![0; 64];
    let (length, from) = socket.recv_from(&mut said).unwrap();
    said.truncate(length);
    (said, from)
}

/// Answers `expected`, the next that the service hears, with itself.
fn answer(service: &UdpSocket, expected: &[u8]) -> SocketAddr {
    let (said, flow) = hear(service);
    assert_eq!(said, expected);
    service.send_to(&said, flow).unwrap();
    flow
}

fn drain(service: &UdpSocket) {
    service.set_nonblocking(true).unwrap();
    while service.recv(&mut [0; 64]).is_ok() {}
    service.set_nonblocking(false).unwrap();
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Bytes of memory in use by this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}
