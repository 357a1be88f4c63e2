//! On which threads forwards run, and whom they hold up there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::ThreadId;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wslnet_relay::{Budget, Forwarder, Gate, Lanes, Limits, ListenError};

use crate::bench::{
    Bench, DEADLINE, Open, client, in_time, is_turned_away, listening, rest_until_reset, until,
};

/// The caller has one thread, and so has the relay. A forward on the caller's would hold up this test itself.
#[tokio::test]
async fn a_flood_that_keeps_a_lane_busy_holds_up_nobody_but_clients() {
    let (busy, released) = mpsc::channel();
    let gate = Arc::new(Busy {
        asked: AtomicBool::new(false),
        released: Mutex::new(released),
    });
    let lanes = Lanes::new(1);
    let bench = Bench::with(Limits::default(), gate.clone(), &lanes).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(client(bench.address).await);
    }
    until("the lane is busy", || gate.asked.load(Ordering::Acquire)).await;

    let control = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut asking = client(control.local_addr().unwrap()).await;
    let (mut answering, _) = in_time(control.accept()).await.unwrap();
    for _ in 0..20 {
        asking.write_all(b"status?").await.unwrap();
        assert_eq!(in_time(answering.read(&mut [0; 16])).await.unwrap(), 7);
    }

    assert_eq!(
        bench.forwarder.counters().accepted,
        0,
        "the lane was busy all the time"
    );
    drop(busy);
    until("all are taken on", || bench.forwarder.counters().accepted == 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_stays_on_the_lane_that_accepted_it() {
    let (lanes, asked) = (Lanes::new(3), Arc::<Asked>::default());
    let bench = Bench::with(Limits::default(), asked.clone(), &lanes).await;

    for _ in 0..50 {
        let (client, service) = bench.connect().await;
        drop((client, service));
        bench.until_deserted().await;
    }

    let (accepting, dialling) = asked.threads();
    assert_eq!((accepting.len(), dialling.len()), (50, 50));
    assert_eq!(distinct(&[accepting, dialling].concat()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_take_the_lanes_in_turn() {
    let (lanes, asked) = (Lanes::new(2), Arc::<Asked>::default());
    let mut bench = Bench::with(Limits::default(), asked.clone(), &lanes).await;
    let second = bench.forwarder.listen(listening()).unwrap();
    let third = bench.forwarder.listen(listening()).unwrap();

    for address in [bench.address, second, third] {
        bench.address = address;
        bench.connect().await;
        bench.until_deserted().await;
    }

    let (accepting, _) = asked.threads();
    assert_eq!(accepting[0], accepting[2]);
    assert_ne!(accepting[0], accepting[1]);
}

/// One forward may be all that somebody uses, for many long connections.
#[tokio::test(flavor = "multi_thread")]
async fn many_connections_of_one_listener_are_shared_out_among_all_lanes() {
    let (lanes, asked) = (Lanes::new(2), Arc::<Asked>::default());
    let bench = Bench::with(Limits::default(), asked.clone(), &lanes).await;

    let mut open = Vec::new();
    for _ in 0..60 {
        let (mut client, mut service) = bench.connect().await;
        client.write_all(b"ping").await.unwrap();
        assert_eq!(in_time(service.read(&mut [0; 16])).await.unwrap(), 4);
        open.push((client, service));
    }

    let (accepting, dialling) = asked.threads();
    assert_eq!((distinct(&accepting), distinct(&dialling)), (1, 2));
    let here = dialling.iter().filter(|thread| **thread == accepting[0]).count();
    assert!(
        (25..=35).contains(&here),
        "{here} of 60 on the lane of the listener"
    );
    // Those that were given away end like all others.
    drop(bench.forwarder);
    for (client, service) in &mut open {
        rest_until_reset(client).await;
        rest_until_reset(service).await;
    }
    until("their slots are back", || bench.budget.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_stream_is_heavy_the_next_goes_to_another_lane() {
    let (lanes, asked) = (Lanes::new(2), Arc::<Asked>::default());
    let bench = Bench::with(Limits::default(), asked.clone(), &lanes).await;
    let (mut client, mut service) = bench.connect().await;
    let pouring = tokio::spawn(async move { while service.write_all(&[7; 1 << 16]).await.is_ok() {} });
    in_time(client.read_exact(&mut vec![0; 8 << 20])).await.unwrap();

    let second = bench.connect().await;

    let (accepting, dialling) = asked.threads();
    assert_eq!((distinct(&accepting), distinct(&dialling)), (1, 2));
    drop((client, second));
    in_time(pouring).await.unwrap();
    bench.until_deserted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_panics_costs_one_client_and_no_lane() {
    let lanes = Lanes::new(1);
    let gate = Arc::new(Panics(Mutex::new(vec![Question::Permits, Question::Admits])));
    let bench = Bench::with(Limits::default(), gate, &lanes).await;

    assert!(is_turned_away(bench.address).await);
    assert!(is_turned_away(bench.address).await);

    bench.connect().await;
    let counters = bench.forwarder.counters();
    assert_eq!((counters.refused_clients, counters.dial_failures), (1, 1));
}

#[test]
fn a_forward_needs_no_runtime_of_its_callers() {
    let (lanes, budget) = (Lanes::new(2), Budget::new(Limits::default()));
    let service = listening();
    let target = service.local_addr().unwrap();
    let mut forwarder = Forwarder::new(target, Arc::new(Open), Arc::clone(&budget), &lanes);
    let address = forwarder.listen(listening()).unwrap();
    let mut client = std::net::TcpStream::connect(address).unwrap();
    let (mut served, _) = service.accept().unwrap();

    std::io::Write::write_all(&mut client, b"ping").unwrap();
    std::io::Read::read_exact(&mut served, &mut [0; 4]).unwrap();
    drop(forwarder);

    let start = std::time::Instant::now();
    while budget.connections() > 0 || std::net::TcpListener::bind(address).is_err() {
        assert!(start.elapsed() < DEADLINE, "something is still open");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[tokio::test]
async fn with_the_lanes_everything_on_them_ends() {
    let lanes = Lanes::new(2);
    let mut bench = Bench::with(Limits::default(), Arc::new(Open), &lanes).await;
    let mut ends = Vec::new();
    for _ in 0..30 {
        ends.push(bench.connect().await);
    }

    drop(lanes);

    assert_eq!(bench.budget.connections(), 0, "at once");
    drop(std::net::TcpListener::bind(bench.address).unwrap());
    for (client, service) in &mut ends {
        rest_until_reset(client).await;
        rest_until_reset(service).await;
    }
    let late = bench.forwarder.listen(listening());
    assert!(matches!(late, Err(ListenError::Watch { .. })), "{late:?}");
    in_time(bench.forwarder.close(wslnet_relay::Connections::Cut)).await;
}

fn distinct(threads: &[ThreadId]) -> usize {
    threads
        .iter()
        .map(|thread| format!("{thread:?}"))
        .collect::<BTreeSet<_>>()
        .len()
}

/// A gate that answers nobody before it is released.
#[derive(Debug)]
struct Busy {
    asked: AtomicBool,
    released: Mutex<mpsc::Receiver<()>>,
}

impl Busy {
    fn wait(&self) {
        self.asked.store(true, Ordering::Release);
        // Either nothing comes in time, or the sender has gone.
        let _released = self.released.lock().unwrap().recv_timeout(DEADLINE / 4);
    }
}

impl Gate for Busy {
    fn admits(&self, _client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        self.wait();
        Ok(())
    }

    fn permits(&self, _target: SocketAddr) -> Result<(), String> {
        Ok(())
    }
}

/// A gate that notes on which threads it is asked whether clients may come in, and whether the target may be dialled.
#[derive(Debug, Default)]
struct Asked {
    admits: Mutex<Vec<ThreadId>>,
    permits: Mutex<Vec<ThreadId>>,
}

impl Asked {
    fn threads(&self) -> (Vec<ThreadId>, Vec<ThreadId>) {
        (
            self.admits.lock().unwrap().clone(),
            self.permits.lock().unwrap().clone(),
        )
    }
}

impl Gate for Asked {
    fn admits(&self, _client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        note(&self.admits);
        Ok(())
    }

    fn permits(&self, _target: SocketAddr) -> Result<(), String> {
        note(&self.permits);
        Ok(())
    }
}

fn note(threads: &Mutex<Vec<ThreadId>>) {
    threads.lock().unwrap().push(std::thread::current().id());
}

#[derive(Debug, PartialEq)]
enum Question {
    Admits,
    Permits,
}

/// A gate that panics once at each of these questions, the last one first.
#[derive(Debug)]
struct Panics(Mutex<Vec<Question>>);

impl Panics {
    fn asked(&self, question: &Question) {
        let mut due = self.0.lock().unwrap();
        if due.last() == Some(question) {
            due.pop();
            drop(due);
            panic!("as the test wants it");
        }
    }
}

impl Gate for Panics {
    fn admits(&self, _client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        self.asked(&Question::Admits);
        Ok(())
    }

    fn permits(&self, _target: SocketAddr) -> Result<(), String> {
        self.asked(&Question::Permits);
        Ok(())
    }
}
