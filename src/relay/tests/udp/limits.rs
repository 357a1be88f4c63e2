//! Too many clients: who has to go, who may not come, and who notices nothing.

use wslnet_relay::Limits;

use crate::bench::{Bench, client, converse, forward, hear, patient, until, until_sent};

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_takes_the_place_of_the_oldest_flow_that_was_never_answered() {
    let bench = Bench::with_limits(Limits {
        flows_per_forward: 3,
        ..patient()
    })
    .await;
    let (answered, to_answered) = bench.connect().await;
    let (oldest, to_oldest) = bench.knock().await;
    let (second, to_second) = bench.knock().await;

    let (newcomer, to_newcomer) = bench.knock().await;

    let counters = bench.forwarder.counters();
    assert_eq!((counters.connections, counters.accepted), (3, 4));
    for (client, flow) in [
        (&answered, to_answered),
        (&second, to_second),
        (&newcomer, to_newcomer),
    ] {
        bench.service.send_to(b"at last", flow).await.unwrap();
        assert_eq!(hear(client).await.0, b"at last");
    }
    // All are answered now. The one that had to go finds no place, nor what it was told meanwhile.
    bench.service.send_to(b"too late", to_oldest).await.unwrap();
    oldest.send(b"me?").await.unwrap();
    until("it is turned away", || {
        bench.forwarder.counters().refused_by_limit == 1
    })
    .await;
    until_sent(&bench.forwarder, 4 + 3 * 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_are_answered_the_newcomer_is_not_heard() {
    let bench = Bench::with_limits(Limits {
        flows_per_forward: 2,
        ..patient()
    })
    .await;
    let (one, to_one) = bench.connect().await;
    let (other, to_other) = bench.connect().await;

    let newcomer = client(bench.address).await;
    for turn in 1..=3 {
        newcomer.send(b"me?").await.unwrap();
        until("it is turned away", || {
            bench.forwarder.counters().refused_by_limit == turn
        })
        .await;
    }

    // Nothing of the newcomer's is in between.
    assert_eq!(converse(&one, &bench.service).await, to_one);
    assert_eq!(converse(&other, &bench.service).await, to_other);
    assert_eq!(bench.forwarder.counters().connections, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_forwards_together_keep_to_the_total_and_none_takes_from_another() {
    let bench = Bench::with_limits(Limits {
        flows_total: 2,
        ..patient()
    })
    .await;
    let (other, address) = forward(bench.service.local_addr().unwrap(), &bench.budget);
    let (unanswered, flow) = bench.knock().await;
    let of_other = client(address).await;
    converse(&of_other, &bench.service).await;

    let newcomer = client(address).await;
    newcomer.send(b"me?").await.unwrap();
    until("it is turned away", || other.counters().refused_by_limit == 1).await;

    assert_eq!(bench.budget.flows(), 2);
    bench.service.send_to(b"still there", flow).await.unwrap();
    assert_eq!(hear(&unanswered).await.0, b"still there");
    drop(bench.forwarder);
    until("a slot is back", || bench.budget.flows() == 1).await;
    converse(&newcomer, &bench.service).await;
}
