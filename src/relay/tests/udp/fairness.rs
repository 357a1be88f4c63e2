//! Whoever sends much gets a share and no more. The runtime has one thread here, and before it runs everything has arrived:
//! first what would keep it busy, then what must not wait for that.

use tokio::net::UdpSocket;

use crate::bench::{Bench, in_time, until};

/// More than a task carries at a time, and fewer than a queue has room for.
const MANY: usize = 100;

#[tokio::test]
async fn an_answer_does_not_wait_until_all_those_for_another_client_are_carried() {
    let bench = Bench::new().await;
    let (_flooded, to_flooded) = bench.connect().await;
    let (client, to_client) = bench.connect().await;
    let before = bench.forwarder.counters().bytes_out;

    for _ in 0..MANY {
        bench.service.try_send_to(b"much", to_flooded).unwrap();
    }
    bench.service.try_send_to(b"pong", to_client).unwrap();
    heard(client).await;

    let carried = bench.forwarder.counters().bytes_out - before;
    assert!(carried < 4 * MANY as u64, "all of the flood was carried before");
    until("the rest is carried", || {
        bench.forwarder.counters().bytes_out - before == 4 * (MANY as u64 + 1)
    })
    .await;
}

#[tokio::test]
async fn an_answer_does_not_wait_until_all_that_clients_say_is_carried() {
    let bench = Bench::new().await;
    let (loud, _) = bench.connect().await;
    let (client, to_client) = bench.connect().await;
    let before = bench.forwarder.counters().bytes_in;

    for _ in 0..MANY {
        loud.try_send(b"much").unwrap();
    }
    bench.service.try_send_to(b"pong", to_client).unwrap();
    heard(client).await;

    let carried = bench.forwarder.counters().bytes_in - before;
    assert!(carried < 4 * MANY as u64, "all of the flood was carried before");
    until("the rest is carried", || {
        bench.forwarder.counters().bytes_in - before == 4 * MANY as u64
    })
    .await;
}

/// Returns as soon as the client has been answered, and not when the runtime comes to look at its socket.
async fn heard(client: UdpSocket) {
    let client = client.into_std().unwrap();
    in_time(async {
        while client.recv(&mut [0; 16]).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
