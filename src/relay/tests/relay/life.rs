//! Listeners come and go, targets change, forwards end: what becomes of the ports and of the connections.

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use wslnet_relay::{Connections, ListenError};

use crate::bench::{Bench, client, in_time, is_closed, listening, read, rest, rest_until_reset, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_closed_with_a_drain_leaves_its_connections_alone() {
    let mut bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;

    bench.forwarder.unlisten(bench.address, Connections::Drain).await;

    assert!(is_closed(bench.address).await);
    assert_eq!(bench.forwarder.listening().count(), 0);
    converse(&mut client, &mut service).await;
    drop(client);
    assert_eq!(rest(&mut service).await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_come_and_go_one_by_one() {
    let mut bench = Bench::new().await;

    let second = bench.forwarder.listen(listening()).unwrap();
    let mut expected = [bench.address, second];
    expected.sort();
    assert!(bench.forwarder.listening().eq(expected));
    bench.forwarder.unlisten(bench.address, Connections::Drain).await;

    assert!(is_closed(bench.address).await);
    assert!(bench.forwarder.listening().eq([second]));
    let mut client = client(second).await;
    let (mut service, _) = in_time(bench.service.accept()).await.unwrap();
    converse(&mut client, &mut service).await;

    // The same port again, at once.
    let again = std::net::TcpListener::bind(bench.address).unwrap();
    assert_eq!(bench.forwarder.listen(again).unwrap(), bench.address);
    bench.connect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_listener_twice_is_an_error() {
    let mut bench = Bench::new().await;
    let listener = listening();
    let twin = listener.try_clone().unwrap();

    let address = bench.forwarder.listen(listener).unwrap();
    let refused = bench.forwarder.listen(twin);

    assert!(matches!(refused, Err(ListenError::Duplicate(duplicate)) if duplicate == address));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_closed_with_a_cut_takes_its_own_connections_along() {
    let mut bench = Bench::new().await;
    let second = bench.forwarder.listen(listening()).unwrap();
    let mut cut = Vec::new();
    // More than end before the accepting task does, so they are not gone by luck.
    for _ in 0..100 {
        cut.push(bench.connect().await);
    }
    let mut kept = client(second).await;
    let (mut kept_service, _) = in_time(bench.service.accept()).await.unwrap();
    converse(&mut kept, &mut kept_service).await;

    in_time(bench.forwarder.unlisten(bench.address, Connections::Cut)).await;

    assert_eq!(bench.budget.connections(), 1, "they are gone on return");
    assert!(is_closed(bench.address).await);
    for (client, service) in &mut cut {
        rest_until_reset(client).await;
        rest_until_reset(service).await;
    }
    converse(&mut kept, &mut kept_service).await;
    bench.address = second;
    let (mut client, mut service) = bench.connect().await;
    converse(&mut client, &mut service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drains_from_a_former_listener_outlives_a_cut_of_the_next_one_there() {
    let mut bench = Bench::new().await;
    let (mut old_client, mut old_service) = bench.connect().await;
    bench.forwarder.unlisten(bench.address, Connections::Drain).await;
    let again = std::net::TcpListener::bind(bench.address).unwrap();
    bench.forwarder.listen(again).unwrap();
    let (mut client, mut service) = bench.connect().await;

    in_time(bench.forwarder.unlisten(bench.address, Connections::Cut)).await;

    rest_until_reset(&mut client).await;
    rest_until_reset(&mut service).await;
    converse(&mut old_client, &mut old_service).await;
    in_time(bench.forwarder.close(Connections::Cut)).await;
    rest_until_reset(&mut old_client).await;
}

#[tokio::test]
async fn a_cut_that_nobody_waits_for_happens_all_the_same() {
    let mut bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;

    tokio::select! {
        biased;
        // Seldom: the lane would have to be faster.
        () = bench.forwarder.unlisten(bench.address, Connections::Cut) => {}
        () = std::future::ready(()) => {}
    }

    rest_until_reset(&mut client).await;
    rest_until_reset(&mut service).await;
    bench.until_deserted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_target_gets_the_new_connections_and_the_old_ones_are_reset() {
    let mut bench = Bench::new().await;
    let (mut old_client, mut old_service) = bench.connect().await;
    converse(&mut old_client, &mut old_service).await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();

    bench.forwarder.retarget(elsewhere.local_addr().unwrap());

    rest_until_reset(&mut old_client).await;
    rest_until_reset(&mut old_service).await;
    assert_eq!(bench.forwarder.target(), elsewhere.local_addr().unwrap());
    bench.service = elsewhere;
    let (mut client, mut service) = bench.connect().await;
    converse(&mut client, &mut service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_target_again_harms_nobody() {
    let mut bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;

    bench.forwarder.retarget(bench.service.local_addr().unwrap());

    converse(&mut client, &mut service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_forward_closes_its_ports_and_lets_connections_finish() {
    let bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;

    in_time(bench.forwarder.close(Connections::Drain)).await;

    assert!(is_closed(bench.address).await);
    converse(&mut client, &mut service).await;
    assert_eq!(bench.budget.connections(), 1, "it still counts");
    client.write_all(b"bye").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut service).await, b"bye");
    drop(service);
    assert_eq!(rest(&mut client).await, b"");
    until("its slot is back", || bench.budget.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_closed_with_a_cut_is_all_gone_on_return() {
    let bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;
    converse(&mut client, &mut service).await;

    in_time(bench.forwarder.close(Connections::Cut)).await;

    assert_eq!(bench.budget.connections(), 0);
    assert!(is_closed(bench.address).await);
    rest_until_reset(&mut client).await;
    rest_until_reset(&mut service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_forward_leaves_nothing_open() {
    let bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;
    converse(&mut client, &mut service).await;

    drop(bench.forwarder);

    rest_until_reset(&mut client).await;
    rest_until_reset(&mut service).await;
    until("its slot is back", || bench.budget.connections() == 0).await;
    until("its port is free", || {
        std::net::TcpListener::bind(bench.address).is_ok()
    })
    .await;
}

/// Both directions work.
async fn converse(client: &mut TcpStream, service: &mut TcpStream) {
    client.write_all(b"ping").await.unwrap();
    assert_eq!(read(service, 4).await, b"ping");
    service.write_all(b"pong").await.unwrap();
    assert_eq!(read(client, 4).await, b"pong");
}
