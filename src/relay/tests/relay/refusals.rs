//! Clients that cannot have their service are reset; they never see an answer without content.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wslnet_relay::{Budget, Forwarder, Gate, Limits};

use crate::bench::{
    Bench, Mute, client, forward, in_time, is_turned_away, listening, rest_until_reset, until,
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
    forwarder.cut();
    for client in &mut clients {
        rest_until_reset(client).await;
    }
}

/// Permits one address only.
#[derive(Debug)]
struct Only(SocketAddr);

impl Gate for Only {
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
    let mut forwarder = Forwarder::new(target, Arc::new(Only(permitted)), Arc::clone(&bench.budget));
    let address = forwarder.listen(listening()).unwrap();

    assert!(is_turned_away(address).await);

    assert_eq!(forwarder.counters().dial_failures, 1);
    let dialled = tokio::time::timeout(Duration::from_millis(50), forbidden.accept()).await;
    assert!(dialled.is_err(), "the target must not hear of it");
    forwarder.retarget(permitted);
    let _welcome = client(address).await;
    in_time(bench.service.accept()).await.unwrap();
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
