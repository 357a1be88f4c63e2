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
use crate::options::close_in_order;
use crate::pump::{End, pump};

/// Serves one client until its connection is over, or is cut because of its target or of its listener. The slot is given
/// back when both sockets are closed.
pub(crate) async fn serve(
    forward: Arc<Forward>,
    slot: Slot,
    client: TcpStream,
    peer: SocketAddr,
    route: Route,
    visit: Visit,
) {
    tokio::select! {
        biased;
        () = visit.cut.cancelled() => {}
        () = route.cut.cancelled() => {}
        () = relay(&forward, &client, peer, route.target) => {}
    }
    drop(client);
    drop(slot);
    drop(visit);
}

async fn relay(forward: &Forward, client: &TcpStream, peer: SocketAddr, target: SocketAddr) {
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
    if pump(client, &service.stream, &forward.traffic, &forward.budget).await == End::Complete {
        close_in_order(&SockRef::from(client));
        close_in_order(&SockRef::from(&service.stream));
    }
}
