//! Any bytes, in any pieces, with the sides finishing in any order, arrive as they were sent and are counted.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{Bench, in_time, noise};

/// What one side does.
#[derive(Debug, Clone)]
struct Script {
    /// Sizes of its writes.
    pieces: Vec<usize>,
    /// The most it reads at once.
    gulp: usize,
    /// Whether it waits for the other's end before it finishes itself.
    ends_last: bool,
    /// Rest before every eighth write.
    rest: Duration,
}

fn script() -> impl Strategy<Value = Script> {
    let piece = prop_oneof![3 => 1..100usize, 2 => 4_000..20_000usize, 1 => 50_000..300_000usize];
    (
        proptest::collection::vec(piece, 0..24),
        1..70_000usize,
        any::<bool>(),
        0..2u64,
    )
        .prop_map(|(pieces, gulp, ends_last, rest)| Script {
            pieces,
            gulp,
            ends_last,
            rest: Duration::from_millis(rest),
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn streams_arrive_as_they_were_sent(from_client in script(), mut from_service in script()) {
        // Two sides that both wait for the other's end would wait for ever.
        from_service.ends_last &= !from_client.ends_last;
        let runtime = tokio::runtime::Runtime::new().unwrap();

        let (counters, to_service, to_client) = runtime.block_on(in_time(exchange(&from_client, &from_service)));

        let (sent_in, sent_out) = (bytes(&from_client), bytes(&from_service));
        prop_assert_eq!((counters.bytes_in, counters.bytes_out), (sent_in.len() as u64, sent_out.len() as u64));
        prop_assert!(to_service == sent_in && to_client == sent_out, "other bytes than those sent");
    }
}

fn bytes(script: &Script) -> Vec<u8> {
    noise(script.pieces.iter().sum())
}

async fn exchange(client: &Script, service: &Script) -> (wslnet_relay::Counters, Vec<u8>, Vec<u8>) {
    let bench = Bench::new().await;
    let (client_stream, service_stream) = bench.connect().await;

    let (to_client, to_service) = tokio::join!(play(client_stream, client), play(service_stream, service));

    bench.until_deserted().await;
    (bench.forwarder.counters(), to_service, to_client)
}

/// Plays one side and returns what it heard.
async fn play(stream: TcpStream, script: &Script) -> Vec<u8> {
    let (mut reads, mut writes) = stream.into_split();
    let (heard_all, until_heard) = tokio::sync::oneshot::channel();
    let listen = async {
        let mut heard = Vec::new();
        let mut buffer = vec![0; script.gulp];
        loop {
            let length = reads.read(&mut buffer).await.unwrap();
            if length == 0 {
                break;
            }
            heard.extend_from_slice(&buffer[..length]);
        }
        let _nobody_waits = heard_all.send(());
        heard
    };
    let speak = async {
        let bytes = bytes(script);
        let mut left = bytes.as_slice();
        for (index, piece) in script.pieces.iter().enumerate() {
            if index % 8 == 0 {
                tokio::time::sleep(script.rest).await;
            }
            let (now, later) = left.split_at(*piece);
            writes.write_all(now).await.unwrap();
            left = later;
        }
        if script.ends_last {
            until_heard.await.unwrap();
        }
        writes.shutdown().await.unwrap();
    };
    let (heard, ()) = tokio::join!(listen, speak);
    heard
}
