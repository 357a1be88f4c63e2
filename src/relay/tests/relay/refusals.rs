//! Clients that cannot have their service are reset; they never see an answer without content.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use wslnet_relay::{Budget, Connections, Forwarder, Gate, Limits};

use crate::bench::{
    Bench, Mute, client, forward, in_time, is_turned_away, lanes, listening, read, rest_until_reset, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_dial_resets_the_client() {
    let nobody = listening().local_addr().unwrap();
    let (forwarder, address) = forward(nobody, &Budget::new(Limits::default()));

    assert!(is_turned_away(address).await);

    until("the failure is counted", || {
        forwarder.counters().dial_failures == 1
    })
    .await;
    until("nothing is live", || forwarder.counters().connections == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_without_an_answer_resets_the_client_in_time() {
    let mute = Mute::new();
    let limits = Limits {
        dial_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let (forwarder, address) = forward(mute.address, &Budget::new(limits));
    let start = Instant::now();

    assert!(is_turned_away(address).await);

    assert!(
        start.elapsed() >= limits.dial_timeout,
        "the dial was to hang: {:?}",
        start.elapsed()
    );
    assert_eq!(forwarder.counters().dial_failures, 1);
}

/// Longer than the first two SYNs of Linux, which meet a full queue; the third comes after three seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_takes_no_calls_for_two_seconds_still_gets_its_client() {
    let mute = Mute::new();
    let (forwarder, address) = forward(mute.address, &Budget::new(Limits::default()));
    let mut client = client(address).await;
    until("it is taken on", || forwarder.counters().accepted == 1).await;

    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(forwarder.counters().dial_failures, 0);
    let service = mute.wake();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = service.accept().await.unwrap();
            tokio::spawn(async move { stream.write_all(b"at your service").await });
        }
    });

    assert_eq!(read(&mut client, 15).await, b"at your service");
    assert_eq!(forwarder.counters().dial_failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dials_that_hang_keep_nobody_waiting() {
    let mute = Mute::new();
    let limits = Limits {
        dial_timeout: Duration::from_secs(600),
        ..Limits::default()
    };
    let (forwarder, address) = forward(mute.address, &Budget::new(limits));

    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(client(address).await);
    }

    until("all are taken on", || forwarder.counters().accepted == 5).await;
    assert_eq!(forwarder.counters().connections, 5);
    in_time(forwarder.close(Connections::Cut)).await;
    for client in &mut clients {
        rest_until_reset(client).await;
    }
}

/// Permits one address only.
#[derive(Debug)]
struct Only(SocketAddr);

impl Gate for Only {
    fn admits(&self, _client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        Ok(())
    }

    fn permits(&self, target: SocketAddr) -> Result<(), String> {
        if target == self.0 {
            Ok(())
        } else {
            Err(format!("{target} is not the session's address"))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gate_does_not_permit_is_not_dialled() {
    let bench = Bench::new().await;
    let permitted = bench.service.local_addr().unwrap();
    let forbidden = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = forbidden.local_addr().unwrap();
    let mut forwarder = Forwarder::new(
        target,
        Arc::new(Only(permitted)),
        Arc::clone(&bench.budget),
        lanes(),
    );
    let address = forwarder.listen(listening()).unwrap();

    assert!(is_turned_away(address).await);

    assert_eq!(forwarder.counters().dial_failures, 1);
    let dialled = tokio::time::timeout(Duration::from_millis(50), forbidden.accept()).await;
    assert!(dialled.is_err(), "the target must not hear of it");
    forwarder.retarget(permitted);
    let _welcome = client(address).await;
    in_time(bench.service.accept()).await.unwrap();
}

/// Admits those clients that come from one address, whatever their port.
#[derive(Debug)]
struct ComesFrom(IpAddr);

impl Gate for ComesFrom {
    fn admits(&self, client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        if client.ip() == self.0 {
            Ok(())
        } else {
            Err(format!("{client} is a stranger"))
        }
    }

    fn permits(&self, _target: SocketAddr) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_the_gate_does_not_admit_is_reset_and_nothing_is_dialled() {
    let bench = Bench::new().await;
    let target = bench.service.local_addr().unwrap();
    let elsewhere = Arc::new(ComesFrom(IpAddr::from([127, 0, 0, 2])));
    let mut forwarder = Forwarder::new(target, elsewhere, Arc::clone(&bench.budget), lanes());
    let address = forwarder.listen(listening()).unwrap();

    assert!(is_turned_away(address).await);

    let counters = forwarder.counters();
    assert_eq!((counters.refused_clients, counters.refused()), (1, 1));
    assert_eq!((counters.accepted, counters.dial_failures), (0, 0));
    let dialled = tokio::time::timeout(Duration::from_millis(50), bench.service.accept()).await;
    assert!(dialled.is_err(), "the service must not hear of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_the_gate_admits_is_served_next_to_one_that_it_does_not() {
    let bench = Bench::new().await;
    let target = bench.service.local_addr().unwrap();
    let elsewhere = IpAddr::from([127, 0, 0, 2]);
    let mut forwarder = Forwarder::new(
        target,
        Arc::new(ComesFrom(elsewhere)),
        Arc::clone(&bench.budget),
        lanes(),
    );
    let address = forwarder.listen(listening()).unwrap();

    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((elsewhere, 0))).unwrap();
    let mut admitted = in_time(socket.connect(address)).await.unwrap();
    let (mut service, _) = in_time(bench.service.accept()).await.unwrap();
    assert!(is_turned_away(address).await);

    admitted.write_all(b"ping").await.unwrap();
    assert_eq!(read(&mut service, 4).await, b"ping");
    let counters = forwarder.counters();
    assert_eq!((counters.accepted, counters.refused_clients), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_hears_the_plain_address_of_a_client_at_a_dual_stack_listener() {
    let bench = Bench::new().await;
    let target = bench.service.local_addr().unwrap();
    let gate = Arc::new(ComesFrom(IpAddr::from([127, 0, 0, 1])));
    let mut forwarder = Forwarder::new(target, gate, Arc::clone(&bench.budget), lanes());
    let port = forwarder.listen(dual_stack()).unwrap().port();

    let _client = client(SocketAddr::from(([127, 0, 0, 1], port))).await;

    in_time(bench.service.accept()).await.unwrap();
    assert_eq!(forwarder.counters().refused_clients, 0);
}

/// Admits whoever comes in by one of the listeners.
#[derive(Debug)]
struct ComesInAt(SocketAddr);

impl Gate for ComesInAt {
    fn admits(&self, client: SocketAddr, listener: SocketAddr) -> Result<(), String> {
        let is_welcome = listener == self.0;
        is_welcome
            .then_some(())
            .ok_or(format!("{client} knocks at {listener}"))
    }

    fn permits(&self, _target: SocketAddr) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_hears_by_which_listener_a_client_comes() {
    let bench = Bench::new().await;
    let target = bench.service.local_addr().unwrap();
    let (open, closed) = (listening(), listening());
    let (welcome, unwelcome) = (open.local_addr().unwrap(), closed.local_addr().unwrap());
    let gate = Arc::new(ComesInAt(welcome));
    let mut forwarder = Forwarder::new(target, gate, Arc::clone(&bench.budget), lanes());
    forwarder.listen(open).unwrap();
    forwarder.listen(closed).unwrap();

    assert!(is_turned_away(unwelcome).await);
    let _client = client(welcome).await;
    in_time(bench.service.accept()).await.unwrap();

    assert_eq!(forwarder.counters().refused_clients, 1);
}

fn dual_stack() -> std::net::TcpListener {
    let listener = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    listener.set_only_v6(false).unwrap();
    listener
        .bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())
        .unwrap();
    listener.listen(8).unwrap();
    listener.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_to_itself_ends_at_the_first_turn() {
    let (mut forwarder, address) = forward(
        SocketAddr::from(([127, 0, 0, 1], 1)),
        &Budget::new(Limits::default()),
    );
    forwarder.retarget(address);

    for turn in 1..=50 {
        assert!(is_turned_away(address).await);
        until("the loop is counted", || {
            forwarder.counters().refused_loops == turn
        })
        .await;
        assert_eq!(forwarder.counters().accepted, turn, "one client, one connection");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_through_two_forwards_ends_too() {
    let budget = Budget::new(Limits::default());
    let (mut one, to_one) = forward(SocketAddr::from(([127, 0, 0, 1], 1)), &budget);
    let (two, to_two) = forward(to_one, &budget);
    one.retarget(to_two);

    assert!(is_turned_away(to_one).await);

    until("the loop is counted", || two.counters().refused_loops == 1).await;
    assert_eq!((one.counters().accepted, two.counters().accepted), (1, 0));
}
