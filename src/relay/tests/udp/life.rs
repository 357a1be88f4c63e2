//! Listening sockets come and go, targets change, flows fall silent, forwards end: what becomes of the ports and flows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wslnet_relay::{Budget, Connections, Lanes, Limits, ListenError, UdpForwarder};

use crate::bench::{
    Bench, Open, client, converse, hear, in_time, is_free, lanes, listening, nobody, patient, socket, until,
    until_sent,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_socket_frees_its_port_at_once_and_takes_its_own_flows_along() {
    for connections in [Connections::Drain, Connections::Cut] {
        let mut bench = Bench::new().await;
        let second = bench.forwarder.listen(listening()).unwrap();
        let kept = client(second).await;
        let kept_flow = converse(&kept, &bench.service).await;
        // More than end before the receiving task does, so they are not gone by luck.
        let mut gone = Vec::new();
        for _ in 0..300 {
            gone.push(bench.connect().await);
        }

        in_time(bench.forwarder.unlisten(bench.address, connections)).await;

        let again = std::net::UdpSocket::bind(bench.address).unwrap();
        assert_eq!(bench.budget.flows(), 1, "they are gone on return");
        assert!(bench.forwarder.listening().eq([second]));
        assert_eq!(converse(&kept, &bench.service).await, kept_flow);
        assert_eq!(bench.forwarder.listen(again).unwrap(), bench.address);
        let (client, former) = &gone[0];
        assert_ne!(converse(client, &bench.service).await, *former);
    }
}

#[tokio::test]
async fn a_close_that_nobody_waits_for_happens_all_the_same() {
    let mut bench = Bench::new().await;
    let _client = bench.connect().await;

    tokio::select! {
        biased;
        // Seldom: the lane would have to be faster.
        () = bench.forwarder.unlisten(bench.address, Connections::Cut) => {}
        () = std::future::ready(()) => {}
    }

    bench.until_deserted().await;
    until("its port is free", || is_free(bench.address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_socket_twice_is_an_error() {
    let mut bench = Bench::new().await;
    let socket = listening();
    let twin = socket.try_clone().unwrap();

    let address = bench.forwarder.listen(socket).unwrap();
    let refused = bench.forwarder.listen(twin);

    assert!(matches!(refused, Err(ListenError::Duplicate(duplicate)) if duplicate == address));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_is_no_address_to_answer_from() {
    let mut bench = Bench::new().await;

    for wildcard in ["0.0.0.0:0", "[::]:0"] {
        let refused = bench
            .forwarder
            .listen(std::net::UdpSocket::bind(wildcard).unwrap());

        assert!(matches!(refused, Err(ListenError::Wildcard(_))), "{wildcard}");
    }
    assert!(bench.forwarder.listening().eq([bench.address]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_target_gets_the_clients_and_the_former_one_is_not_heard_any_more() {
    let mut bench = Bench::new().await;
    let (client, former_flow) = bench.connect().await;
    let elsewhere = socket().await;

    bench.forwarder.retarget(elsewhere.local_addr().unwrap());
    bench.service.send_to(b"too late", former_flow).await.unwrap();

    assert_eq!(bench.forwarder.target(), elsewhere.local_addr().unwrap());
    bench.until_deserted().await;
    converse(&client, &elsewhere).await;
    until_sent(&bench.forwarder, 2 * 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_target_again_harms_nobody() {
    let mut bench = Bench::new().await;
    let (client, flow) = bench.connect().await;

    bench.forwarder.retarget(bench.service.local_addr().unwrap());

    assert_eq!(converse(&client, &bench.service).await, flow);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_an_answered_flow_in_its_time() {
    let limits = Limits {
        flow_timeout: Duration::from_millis(300),
        unanswered_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let bench = Bench::with_limits(limits).await;
    let start = Instant::now();
    let (client, flow) = bench.connect().await;

    bench.until_deserted().await;

    assert!(start.elapsed() >= limits.flow_timeout, "{:?}", start.elapsed());
    assert_ne!(converse(&client, &bench.service).await, flow, "a new flow");
    assert_eq!(bench.forwarder.counters().accepted, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_flow_ends_sooner() {
    let limits = Limits {
        unanswered_timeout: Duration::from_millis(300),
        ..patient()
    };
    let bench = Bench::with_limits(limits).await;
    let (answered, flow) = bench.connect().await;
    let _unanswered = bench.knock().await;

    until("one has ended", || bench.forwarder.counters().connections == 1).await;

    assert_eq!(converse(&answered, &bench.service).await, flow);
    assert_eq!(bench.forwarder.counters().accepted, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_lives_while_either_side_says_something() {
    let timeout = Duration::from_millis(400);
    let limits = Limits {
        flow_timeout: timeout,
        unanswered_timeout: timeout,
        ..Limits::default()
    };
    let bench = Bench::with_limits(limits).await;

    for client_speaks in [true, false] {
        let spoken = async { while !speak(&bench, client_speaks, timeout).await {} };
        in_time(spoken).await;
    }
}

/// One side alone speaks for three times as long as a flow may be silent. Returns whether there was never so long a pause;
/// on a busy machine there may be.
async fn speak(bench: &Bench, client_speaks: bool, timeout: Duration) -> bool {
    let mut last = Instant::now();
    let (client, flow) = bench.connect().await;
    for _ in 0..30 {
        tokio::time::sleep(timeout / 10).await;
        let now = Instant::now();
        let from = if client_speaks {
            client.send(b"still here").await.unwrap();
            hear(&bench.service).await.1
        } else {
            bench.service.send_to(b"still here", flow).await.unwrap();
            // Where the flow has ended, this is not heard.
            let heard = tokio::time::timeout(timeout, client.recv(&mut [0; 16])).await;
            if heard.is_ok() { flow } else { bench.address }
        };
        if last.elapsed() >= timeout {
            return false;
        }
        assert_eq!(from, flow, "the flow has ended while somebody spoke");
        last = now;
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_forward_is_all_gone_on_return() {
    for connections in [Connections::Drain, Connections::Cut] {
        let mut bench = Bench::new().await;
        let second = bench.forwarder.listen(listening()).unwrap();
        bench.connect().await;
        converse(&client(second).await, &bench.service).await;

        in_time(bench.forwarder.close(connections)).await;

        assert_eq!(bench.budget.flows(), 0);
        assert!(is_free(bench.address) && is_free(second));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_forward_leaves_nothing_open() {
    let bench = Bench::new().await;
    let (_client, flow) = bench.connect().await;

    drop(bench.forwarder);

    until("its slot is back", || bench.budget.flows() == 0).await;
    until("its port is free", || is_free(bench.address)).await;
    assert!(is_free(flow), "and that of its upstream socket");
}

#[tokio::test]
async fn with_the_lanes_everything_on_them_ends() {
    let lanes = Lanes::new(2);
    let bench = Bench::with(patient(), Arc::new(Open), &lanes).await;
    let (_client, flow) = bench.connect().await;
    assert_eq!(bench.budget.flows(), 1);

    drop(lanes);

    assert_eq!(bench.budget.flows(), 0);
    assert!(is_free(bench.address) && is_free(flow));
    in_time(bench.forwarder.close(Connections::Cut)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_without_listeners_holds_nothing() {
    let budget = Budget::new(Limits::default());

    let forwarder = UdpForwarder::new(nobody(), Arc::new(Open), Arc::clone(&budget), lanes());

    assert_eq!(forwarder.listening().count(), 0);
    assert_eq!(forwarder.counters(), wslnet_relay::Counters::default());
    in_time(forwarder.close(Connections::Cut)).await;
}
