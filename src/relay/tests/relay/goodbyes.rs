//! How connections end: an end of stream stays one, a reset stays one, and every byte before it arrives and counts.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::bench::{Bench, in_time, noise, read, reset, rest, rest_until_reset, until};

/// More than the socket buffers on the way hold.
const MUCH: usize = 8 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_finished_asking_gets_the_whole_answer() {
    let bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;

    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut service).await, b"question");
    let answer = noise(MUCH);
    let (sent, received) = tokio::join!(
        async {
            service.write_all(&answer).await.unwrap();
            service.shutdown().await.unwrap();
            service
        },
        rest(&mut client)
    );

    assert!(received == answer);
    drop(sent);
    bench.until_deserted().await;
    let counters = bench.forwarder.counters();
    assert_eq!((counters.bytes_in, counters.bytes_out), (8, MUCH as u64));
    assert_eq!((counters.accepted, counters.dial_failures), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_finished_speaking_hears_the_client_out() {
    let bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;

    service.write_all(b"greeting").await.unwrap();
    service.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, b"greeting");
    let upload = noise(MUCH);
    let ((), received) = tokio::join!(
        async {
            client.write_all(&upload).await.unwrap();
            client.shutdown().await.unwrap();
        },
        rest(&mut service)
    );

    assert!(received == upload);
    bench.until_deserted().await;
    let counters = bench.forwarder.counters();
    assert_eq!((counters.bytes_in, counters.bytes_out), (MUCH as u64, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_read_may_still_speak() {
    let bench = Bench::new().await;
    let (client, mut service) = bench.connect().await;
    let (mut client_reads, mut client_writes) = client.into_split();
    let upload = tokio::spawn(async move { client_writes.write_all(&noise(4 * MUCH)).await });
    until("the way in is full", || {
        bench.forwarder.counters().bytes_in > 64 << 10
    })
    .await;

    service.write_all(b"heard enough").await.unwrap();

    let mut said = [0; 12];
    in_time(tokio::io::AsyncReadExt::read_exact(&mut client_reads, &mut said))
        .await
        .unwrap();
    assert_eq!(&said, b"heard enough");
    upload.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_by_the_service_reaches_the_client_after_the_bytes_before_it() {
    let bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;

    client.write_all(b"12345").await.unwrap();
    assert_eq!(read(&mut service, 5).await, b"12345");
    service.write_all(b"abc").await.unwrap();
    assert_eq!(read(&mut client, 3).await, b"abc");
    reset(service);

    assert_eq!(rest_until_reset(&mut client).await, b"");
    bench.until_deserted().await;
    let counters = bench.forwarder.counters();
    assert_eq!((counters.bytes_in, counters.bytes_out), (5, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_by_the_client_reaches_the_service() {
    let bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;

    client.write_all(b"12345").await.unwrap();
    assert_eq!(read(&mut service, 5).await, b"12345");
    reset(client);

    assert_eq!(rest_until_reset(&mut service).await, b"");
    bench.until_deserted().await;
    assert_eq!(bench.forwarder.counters().bytes_in, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_by_a_client_that_had_finished_asking_reaches_the_idle_service() {
    let bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut service).await, b"");

    reset(client);

    bench.until_deserted().await;
    // The service has read the end of stream already, so only writing tells it.
    until("the service's writes fail", || {
        service
            .try_write(b"x")
            .is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_by_a_service_that_had_finished_speaking_reaches_the_idle_client() {
    let bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;
    service.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, b"");

    reset(service);

    bench.until_deserted().await;
    until("the client's writes fail", || {
        client
            .try_write(b"x")
            .is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    })
    .await;
}

// Windows throws away what a socket has received when a reset follows; so there is nothing left to pass on.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_arrives_though_the_request_was_not_read() {
    for _ in 0..50 {
        let bench = Bench::new().await;
        let (mut client, mut service) = bench.connect().await;
        client.write_all(&noise(100 << 10)).await.unwrap();
        read(&mut service, 10).await;

        service.write_all(b"413 too large").await.unwrap();
        drop(service);

        assert_eq!(rest_until_reset(&mut client).await, b"413 too large");
        bench.until_deserted().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_does_not_end_a_half_closed_connection() {
    let bench = Bench::new().await;
    let (mut client, mut service) = bench.connect().await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut service).await, b"");

    // Longer than the relay takes to look for a reset by itself.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    service.write_all(b"late").await.unwrap();
    drop(service);

    assert_eq!(rest(&mut client).await, b"late");
    bench.until_deserted().await;
}
