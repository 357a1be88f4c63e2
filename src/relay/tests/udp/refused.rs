//! A service that has never been there.

use tokio::net::UdpSocket;
use wslnet_relay::Budget;

use crate::bench::{client, converse, forward, nobody, patient, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_refuses_ends_the_flow_and_gets_the_next_datagram_once_it_is_there() {
    let target = nobody();
    let (forwarder, address) = forward(target, &Budget::new(patient()));
    let client = client(address).await;

    client.send(b"anybody?").await.unwrap();

    until("the failure is counted", || {
        forwarder.counters().dial_failures == 1
    })
    .await;
    until("the flow has ended", || forwarder.counters().connections == 0).await;
    assert_eq!(forwarder.counters().accepted, 1);
    let service = UdpSocket::bind(target).await.unwrap();
    converse(&client, &service).await;
}
