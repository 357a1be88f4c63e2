//! Services that are not there, clients that are gone or not welcome, and datagrams that come back to where they were.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use wslnet_relay::{Budget, Gate, UdpForwarder};

use crate::bench::{
    Bench, Open, client, converse, forward, hear, lanes, listening, nobody, patient, socket, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_again_is_found_again() {
    let bench = Bench::new().await;
    let (client, former) = bench.connect().await;
    let target = bench.service.local_addr().unwrap();

    drop(bench.service);
    client.send(b"anybody?").await.unwrap();
    until("the refusal is noticed", || {
        bench.forwarder.counters().dial_failures == 1
    })
    .await;
    let service = UdpSocket::bind(target).await.unwrap();

    assert_ne!(converse(&client, &service).await, former);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_gone_do_not_end_the_listening_socket() {
    let bench = Bench::new().await;
    let (staying, flow) = bench.connect().await;

    for _ in 0..20 {
        let (leaving, to_leaving) = bench.knock().await;
        drop(leaving);
        let before = bench.forwarder.counters().bytes_out;
        bench.service.send_to(b"for nobody", to_leaving).await.unwrap();
        until("it has been passed on", || {
            bench.forwarder.counters().bytes_out > before
        })
        .await;
        assert_eq!(converse(&staying, &bench.service).await, flow);
    }
}

/// Admits clients and permits targets, or not, as told at the moment.
#[derive(Debug)]
struct Switch {
    admits: AtomicBool,
    permits: AtomicBool,
}

impl Switch {
    fn new(admits: bool, permits: bool) -> Arc<Self> {
        Arc::new(Self {
            admits: AtomicBool::new(admits),
            permits: AtomicBool::new(permits),
        })
    }
}

impl Gate for Switch {
    fn admits(&self, client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        let admits = self.admits.load(Ordering::Relaxed);
        admits.then_some(()).ok_or(format!("{client} is a stranger"))
    }

    fn permits(&self, target: SocketAddr) -> Result<(), String> {
        let permits = self.permits.load(Ordering::Relaxed);
        permits.then_some(()).ok_or(format!("{target} is somebody else"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_the_gate_does_not_admit_is_not_heard() {
    let gate = Switch::new(false, true);
    let bench = Bench::with_gate(Arc::clone(&gate) as Arc<dyn Gate>).await;
    let client = client(bench.address).await;

    client.send(b"let me in").await.unwrap();
    until("it is turned away", || {
        bench.forwarder.counters().refused_clients == 1
    })
    .await;

    assert_eq!(bench.forwarder.counters().accepted, 0);
    gate.admits.store(true, Ordering::Relaxed);
    // The service hears of this and of nothing before it.
    converse(&client, &bench.service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gate_does_not_permit_hears_nothing() {
    let gate = Switch::new(true, false);
    let bench = Bench::with_gate(Arc::clone(&gate) as Arc<dyn Gate>).await;
    let client = client(bench.address).await;

    client.send(b"hello").await.unwrap();
    until("the failure is counted", || {
        bench.forwarder.counters().dial_failures == 1
    })
    .await;

    let counters = bench.forwarder.counters();
    assert_eq!((counters.connections, counters.bytes_in), (0, 0));
    gate.permits.store(true, Ordering::Relaxed);
    converse(&client, &bench.service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_ends_at_the_first_datagram_that_the_gate_has_come_to_object_to() {
    for from_client in [true, false] {
        for of_client in [true, false] {
            let gate = Switch::new(true, true);
            let bench = Bench::with_gate(Arc::clone(&gate) as Arc<dyn Gate>).await;
            let (client, flow) = bench.connect().await;
            let switch = if of_client { &gate.admits } else { &gate.permits };

            switch.store(false, Ordering::Relaxed);
            if from_client {
                client.send(b"too late").await.unwrap();
            } else {
                bench.service.send_to(b"too late", flow).await.unwrap();
            }
            bench.until_deserted().await;
            switch.store(true, Ordering::Relaxed);

            let counters = bench.forwarder.counters();
            assert_eq!(counters.refused_clients, u64::from(of_client));
            assert_eq!(counters.dial_failures, u64::from(!of_client));
            // Neither side hears what came too late.
            assert_ne!(converse(&client, &bench.service).await, flow);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_hears_the_plain_address_of_a_mapped_client() {
    #[derive(Debug)]
    struct Plain;
    impl Gate for Plain {
        fn admits(&self, client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
            client.is_ipv4().then_some(()).ok_or(client.to_string())
        }

        fn permits(&self, _target: SocketAddr) -> Result<(), String> {
            Ok(())
        }
    }
    let mut bench = Bench::with_gate(Arc::new(Plain)).await;
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
    socket.set_only_v6(false).unwrap();
    let mapped: SocketAddr = "[::ffff:127.0.0.1]:0".parse().unwrap();
    socket.bind(&mapped.into()).unwrap();
    let port = bench.forwarder.listen(socket.into()).unwrap().port();

    let client = client(SocketAddr::from(([127, 0, 0, 1], port))).await;

    converse(&client, &bench.service).await;
    assert_eq!(bench.forwarder.counters().refused_clients, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_to_itself_ends_at_the_first_turn() {
    let (mut forwarder, address) = forward(nobody(), &Budget::new(patient()));
    forwarder.retarget(address);
    let client = client(address).await;

    for turn in 1..=50 {
        client.send(b"round and round").await.unwrap();
        until("the loop is counted", || {
            forwarder.counters().refused_loops == turn
        })
        .await;
    }

    assert_eq!(forwarder.counters().accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_through_two_forwards_ends_too() {
    let budget = Budget::new(patient());
    let (mut one, to_one) = forward(nobody(), &budget);
    let (two, to_two) = forward(to_one, &budget);
    one.retarget(to_two);
    let client = client(to_one).await;

    client.send(b"round and round").await.unwrap();

    until("the loop is counted", || two.counters().refused_loops == 1).await;
    assert_eq!((one.counters().accepted, two.counters().accepted), (1, 0));
}

/// As if somebody had forged the source of a datagram: two services that answer everything would never stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_that_seems_to_come_from_a_forward_is_a_loop() {
    let bench = Bench::new().await;
    let socket = listening();
    let forger = socket.try_clone().unwrap();
    let mut other = UdpForwarder::new(
        bench.service.local_addr().unwrap(),
        Arc::new(Open),
        Arc::clone(&bench.budget),
        lanes(),
    );
    let address = other.listen(socket).unwrap();

    for (turn, victim) in [bench.address, address].into_iter().enumerate() {
        forger.send_to(b"answer me", victim).unwrap();

        until("the loop is counted", || {
            bench.forwarder.counters().refused_loops + other.counters().refused_loops == turn as u64 + 1
        })
        .await;
    }
    assert_eq!(bench.budget.flows(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_that_seems_to_come_from_a_target_is_a_loop_while_it_is_one() {
    let mut bench = Bench::new().await;
    bench.service.send_to(b"answer me", bench.address).await.unwrap();
    until("the loop is counted", || {
        bench.forwarder.counters().refused_loops == 1
    })
    .await;
    assert_eq!(bench.budget.flows(), 0);

    let elsewhere = socket().await;
    bench.forwarder.retarget(elsewhere.local_addr().unwrap());

    bench
        .service
        .send_to(b"a client now", bench.address)
        .await
        .unwrap();
    assert_eq!(hear(&elsewhere).await.0, b"a client now");
}
