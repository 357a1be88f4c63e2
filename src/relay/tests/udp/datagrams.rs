//! What arrives, and at whom.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::bench::{Bench, client, converse, echo, hear, listening, socket, until_sent};

/// Nothing, something, an Ethernet frame, and the most that IPv4 allows.
const SIZES: [usize; 4] = [0, 1, 1472, 65_507];

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_every_size_pass_whole_for_several_clients_at_a_time() {
    const CLIENTS: u8 = 4;
    let bench = Bench::new().await;
    echo(bench.service);
    // A queue has room for two or three of the largest; the system loses what comes on top.
    let large = Arc::new(Mutex::new(()));

    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let large = Arc::clone(&large);
            tokio::spawn(async move {
                let client = client(bench.address).await;
                for size in SIZES {
                    let _alone = if size > 10_000 {
                        Some(large.lock().await)
                    } else {
                        None
                    };
                    let datagram = noise(number, size);
                    client.send(&datagram).await.unwrap();
                    assert!(
                        hear(&client).await.0 == datagram,
                        "{size} bytes of client {number}"
                    );
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }

    let bytes = u64::from(CLIENTS) * SIZES.iter().sum::<usize>() as u64;
    until_sent(&bench.forwarder, bytes).await;
    let counters = bench.forwarder.counters();
    assert_eq!(counters.bytes_in, bytes);
    let flows = usize::from(CLIENTS);
    assert_eq!(
        (counters.connections, counters.accepted),
        (flows, u64::from(CLIENTS))
    );
    assert_eq!((counters.refused(), counters.dial_failures), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_that_wait_together_stay_apart() {
    let bench = Bench::new().await;
    let (client, flow) = bench.connect().await;
    let said: [&[u8]; 4] = [b"one", b"", b"two", b"three"];

    for datagram in said {
        client.send(datagram).await.unwrap();
    }
    for datagram in said {
        assert_eq!(hear(&bench.service).await, (datagram.to_vec(), flow));
    }
    for datagram in said {
        bench.service.send_to(datagram, flow).await.unwrap();
    }
    for datagram in said {
        assert_eq!(hear(&client).await.0, datagram);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_to_the_client_that_asked_in_whatever_order() {
    let bench = Bench::new().await;
    let (one, to_one) = bench.knock().await;
    let (other, to_other) = bench.knock().await;
    assert_ne!(to_one, to_other, "each has a socket of its own");

    bench.service.send_to(b"for the other", to_other).await.unwrap();
    bench.service.send_to(b"for the one", to_one).await.unwrap();

    assert_eq!(hear(&one).await.0, b"for the one");
    assert_eq!(hear(&other).await.0, b"for the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_from_the_address_that_was_asked() {
    let mut bench = Bench::new().await;
    let second = bench.forwarder.listen(listening()).unwrap();
    let client = socket().await;
    let mut flows = Vec::new();
    for address in [bench.address, second] {
        client.send_to(b"who are you?", address).await.unwrap();
        flows.push(hear(&bench.service).await.1);
    }

    for (flow, address) in flows.into_iter().zip([bench.address, second]) {
        bench.service.send_to(b"me", flow).await.unwrap();
        assert_eq!(hear(&client).await, (b"me".to_vec(), address));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_target_is_heard_at_an_upstream_socket() {
    let bench = Bench::new().await;
    let (client, flow) = bench.connect().await;

    let stranger = socket().await;
    stranger.send_to(b"listen to me", flow).await.unwrap();

    // What the stranger said would have come before this.
    converse(&client, &bench.service).await;
    until_sent(&bench.forwarder, 2 * 4).await;
}

/// Bytes without a short period, others for every client.
fn noise(client: u8, length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ u64::from(client);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}
