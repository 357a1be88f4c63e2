//! A thousand connections at once, all of them talking.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::sync::Barrier;

use crate::bench::{Bench, client, in_time, read, until};

const MANY: usize = 1000;
/// Four sockets for each connection lie in this process, and some room.
const DESCRIPTORS: u64 = 5 * MANY as u64;
const AT_MOST: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_talk_at_the_same_time() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(DESCRIPTORS), hard).unwrap();
    let start = Instant::now();
    let bench = Bench::with_queues_of(2 * MANY as i32).await;
    let (address, service) = (bench.address, bench.service);
    let echo = tokio::spawn(async move {
        loop {
            let (mut stream, _) = service.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut reads, mut writes) = stream.split();
                tokio::io::copy(&mut reads, &mut writes).await.unwrap();
            });
        }
    });

    let all_open = Arc::new(Barrier::new(MANY));
    let clients: Vec<_> = (0..MANY as u32)
        .map(|number| {
            let all_open = Arc::clone(&all_open);
            tokio::spawn(async move {
                let mut client = client(address).await;
                client.write_all(&number.to_le_bytes()).await.unwrap();
                assert_eq!(read(&mut client, 4).await, number.to_le_bytes());
                in_time(all_open.wait()).await;
                for round in 0..5 {
                    let message = [number.to_le_bytes(), (round * number).to_le_bytes()]
                        .concat()
                        .repeat(128);
                    client.write_all(&message).await.unwrap();
                    assert_eq!(read(&mut client, message.len()).await, message);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }

    assert!(start.elapsed() < AT_MOST, "took {:?}", start.elapsed());
    until("all have ended", || bench.budget.connections() == 0).await;
    let counters = bench.forwarder.counters();
    let bytes = MANY as u64 * (4 + 5 * 1024);
    assert_eq!((counters.bytes_in, counters.bytes_out), (bytes, bytes));
    assert_eq!(
        (
            counters.accepted,
            counters.refused_by_limit,
            counters.dial_failures
        ),
        (MANY as u64, 0, 0)
    );
    echo.abort();
}
