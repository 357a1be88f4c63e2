//! The life of one connection, from the accepted client to the last byte. Every way out but one resets the client.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::budget::Slot;
use crate::dial::dial;
use crate::entrance::Visit;
use crate::forward::{Forward, Route};
use crate::lanes::{Lane, Seat};
use crate::options::close_in_order;
use crate::pump::{End, pump};

/// What a client has been granted. The slot is given back when both sockets are closed.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) forward: Arc<Forward>,
    pub(crate) peer: SocketAddr,
    pub(crate) route: Route,
    pub(crate) _slot: Slot,
    pub(crate) visit: Visit,
}

/// Serves one client that `lane` has accepted, there or where there is less to do. Never waits.
pub(crate) fn start(client: TcpStream, admission: Admission, lane: &Lane) {
    let seat = lane.seat();
    // Boxed, as a task is moved about before it runs for the first time.
    if seat.is_on(lane) {
        lane.spawn(Box::pin(serve(seat, admission, client)));
        return;
    }
    let peer = admission.peer;
    match client.into_std() {
        Ok(client) => {
            let lane = seat.lane().clone();
            lane.spawn(Box::pin(serve_here(seat, admission, client)));
        }
        Err(error) => tracing::debug!(%peer, %error, "a client could not change lanes; reset"),
    }
}

/// As [`serve`], for a client that nobody watches yet.
async fn serve_here(seat: Seat, admission: Admission, client: std::net::TcpStream) {
    match TcpStream::from_std(client) {
        Ok(client) => serve(seat, admission, client).await,
        Err(error) => {
            tracing::debug!(peer = %admission.peer, %error, "a client could not change lanes; reset");
        }
    }
}

/// Serves one client until its connection is over, or is cut because of its target or of its listener.
async fn serve(seat: Seat, admission: Admission, client: TcpStream) {
    tokio::select! {
        biased;
        () = admission.visit.cut.cancelled() => {}
        () = admission.route.cut.cancelled() => {}
        () = relay(&admission, &client, &seat) => {}
    }
    drop(client);
    drop(admission);
    drop(seat);
}

async fn relay(admission: &Admission, client: &TcpStream, seat: &Seat) {
    let (forward, peer, target) = (&admission.forward, admission.peer, admission.route.target);
    let timeout = forward.budget.limits().dial_timeout;
    let service = match dial(target, forward.gate.as_ref(), timeout, forward.budget.outbound()).await {
        Ok(service) => service,
        Err(error) => {
            forward.tally.dial_failures.fetch_add(1, Ordering::Relaxed);
            let reason = error.source().map(|source| source as &dyn Error);
            tracing::debug!(%peer, %target, %error, reason, "no connection to the service; client reset");
            return;
        }
    };
    let end = pump(client, &service.stream, &forward.traffic, &forward.budget, seat).await;
    if end == End::Complete {
        close_in_order(&SockRef::from(client));
        close_in_order(&SockRef::from(&service.stream));
    }
}
