//! Carries the bytes of one connection, both ways, until both sides have said all they had to say or one is gone.
//! It neither dials nor closes: it tells how the connection ended, and the caller acts on it.

mod direction;
mod express;
mod held;
mod pace;
mod read;
mod rest;
mod side;

use std::pin::pin;
use std::sync::atomic::AtomicU64;

use tokio::io::Interest;
use tokio::net::TcpStream;

use self::direction::Direction;
pub(crate) use self::held::Held;
use self::side::{Broken, Side};
use crate::budget::Budget;
use crate::lanes::Seat;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both directions came to their end, and both sides know.
    Complete,
    /// One side is gone; the other is to learn it by a reset.
    Reset,
}

/// Bytes handed to the other side's socket; counted as they go, so the count is right however the connection ends.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Client to service.
    pub(crate) inward: AtomicU64,
    /// Service to client.
    pub(crate) outward: AtomicU64,
}

/// Carries everything between `client` and `service`.
///
/// There is no idle limit, also not when one side has finished: the answer to a request may take minutes.
pub(crate) async fn pump(
    client: &TcpStream,
    service: &TcpStream,
    traffic: &Traffic,
    budget: &Budget,
    seat: &Seat,
) -> End {
    let (client, service) = (&Side::new(client), &Side::new(service));
    let mut inward = pin!(Direction::new(client, service, &traffic.inward, budget, seat).carry());
    let mut outward = pin!(Direction::new(service, client, &traffic.outward, budget, seat).carry());

    let (first, rest, finished) = tokio::select! {
        first = &mut inward => (first, outward, client),
        first = &mut outward => (first, inward, service),
    };
    match first {
        Ok(()) => tokio::select! {
            biased;
            second = rest => second.map_or(End::Reset, |()| End::Complete),
            () = reset(finished.stream) => End::Reset,
        },
        Err(Broken::AtOnce) => End::Reset,
        Err(Broken::SinkGone) => {
            // A service that answers early and closes, with the request half read, resets: the answer still counts.
            // Its socket is dead, so this direction ends once it is read out.
            let _ended = rest.await;
            End::Reset
        }
    }
}

/// Waits until `stream`, which was read to its end, is reset. Reading would not tell any more.
async fn reset(stream: &TcpStream) {
    loop {
        tokio::select! {
            _ = stream.ready(Interest::ERROR) => return,
            () = rest::before_a_look() => {}
        }
        // Windows reports an abort as "write side closed" and not as an error (mio 1.2, sys/windows/event.rs).
        let closed = tokio::select! {
            biased;
            ready = stream.ready(Interest::WRITABLE) => ready.map_or(true, |ready| ready.is_write_closed()),
            () = std::future::ready(()) => false,
        };
        if closed {
            return;
        }
    }
}
