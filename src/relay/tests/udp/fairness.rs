//! Whoever sends much gets a share and no more. There is one lane here, and before it goes on everything has arrived: first
//! what would keep it busy, then what must not wait for that.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use wslnet_relay::{Gate, Lanes};

use crate::bench::{Bench, patient, until};

/// More than a task carries at a time, and fewer than a queue has room for.
const MANY: usize = 100;

#[tokio::test]
async fn an_answer_does_not_wait_until_all_those_for_another_client_are_carried() {
    let (lanes, asked) = (Lanes::new(1), Arc::<Asked>::default());
    let bench = Bench::with(patient(), asked.clone(), &lanes).await;
    let (flooded, to_flooded) = bench.connect().await;
    let (client, to_client) = bench.connect().await;

    asked.while_nothing_is_carried(|| {
        for _ in 0..MANY {
            bench.service.try_send_to(b"much", to_flooded).unwrap();
        }
        bench.service.try_send_to(b"pong", to_client).unwrap();
    });

    asked.until_many_and_one(&flooded, &client).await;
    asked.assert_one_was_before_the_last_of_many(&client);
}

#[tokio::test]
async fn an_answer_does_not_wait_until_all_that_clients_say_is_carried() {
    let (lanes, asked) = (Lanes::new(1), Arc::<Asked>::default());
    let bench = Bench::with(patient(), asked.clone(), &lanes).await;
    let (loud, _) = bench.connect().await;
    let (client, to_client) = bench.connect().await;

    asked.while_nothing_is_carried(|| {
        for _ in 0..MANY {
            loud.try_send(b"much").unwrap();
        }
        bench.service.try_send_to(b"pong", to_client).unwrap();
    });

    asked.until_many_and_one(&loud, &client).await;
    asked.assert_one_was_before_the_last_of_many(&client);
}

/// A gate that notes about whose datagrams it is asked, one after the other.
#[derive(Debug, Default)]
struct Asked(Mutex<Vec<SocketAddr>>);

impl Asked {
    /// Forgets what was asked, and holds up the lane at its next question until `send` has returned.
    fn while_nothing_is_carried(&self, send: impl FnOnce()) {
        let mut asked = self.0.lock().unwrap();
        asked.clear();
        send();
    }

    fn note(&self, client: SocketAddr) {
        self.0.lock().unwrap().push(client);
    }

    async fn until_many_and_one(&self, many: &UdpSocket, one: &UdpSocket) {
        let count = |client: &UdpSocket| {
            let client = client.local_addr().unwrap();
            let asked = self.0.lock().unwrap();
            asked.iter().filter(|asked| **asked == client).count()
        };
        until("all is carried", || (count(many), count(one)) == (MANY, 1)).await;
    }

    fn assert_one_was_before_the_last_of_many(&self, one: &UdpSocket) {
        let last = *self.0.lock().unwrap().last().unwrap();
        assert_ne!(
            last,
            one.local_addr().unwrap(),
            "all of the flood was carried before"
        );
    }
}

impl Gate for Asked {
    fn admits(&self, client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        self.note(client);
        Ok(())
    }

    fn permits(&self, _target: SocketAddr) -> Result<(), String> {
        Ok(())
    }
}
