//! Too many clients: those over a limit are reset at once, those within it notice nothing.

use wslnet_relay::Limits;

use crate::bench::{Bench, client, forward, in_time, is_turned_away, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_takes_no_more_clients_than_its_limit() {
    let bench = Bench::with_limits(Limits {
        per_forward: 2,
        ..Limits::default()
    })
    .await;
    let first = bench.connect().await;
    let _second = bench.connect().await;

    assert!(is_turned_away(bench.address).await);

    let counters = bench.forwarder.counters();
    assert_eq!(
        (counters.connections, counters.accepted, counters.refused_by_limit),
        (2, 2, 1)
    );
    drop(first);
    until("a slot is back", || bench.forwarder.counters().connections == 1).await;
    bench.connect().await;
    assert_eq!(bench.forwarder.counters().refused_by_limit, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_forwards_together_keep_to_the_total() {
    let bench = Bench::with_limits(Limits {
        total: 2,
        ..Limits::default()
    })
    .await;
    let (other, address) = forward(bench.service.local_addr().unwrap(), &bench.budget);
    let one = bench.connect().await;
    let _two = client(address).await;
    in_time(bench.service.accept()).await.unwrap();

    assert!(is_turned_away(address).await);

    assert_eq!(other.counters().refused_by_limit, 1);
    assert_eq!(bench.budget.connections(), 2);
    drop(one);
    until("a slot is back", || bench.budget.connections() == 1).await;
    let _three = client(address).await;
    in_time(bench.service.accept()).await.unwrap();
}
