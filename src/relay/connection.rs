//! The life of one connection, from the accepted client to the last byte. Every way out but one resets the client.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::budget::Slot;
use crate::dial::{DialError, Dialled, dial};
use crate::forward::{Forward, Route};
use crate::pump::{End, pump};

/// A client that vanished without a word is asked after this long,
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// and then this often, until the system gives up on it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Prepares an accepted client: from here on its connection is reset when the socket is closed, by whatever way, until
/// [`close_in_order`] says otherwise. So not even a killed program looks like an empty answer.
pub(crate) fn prepare(client: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(client);
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)
}

/// Serves one client until its connection is over or cut. The slot is given back when both sockets are closed.
pub(crate) async fn serve(
    forward: Arc<Forward>,
    slot: Slot,
    client: TcpStream,
    peer: SocketAddr,
    route: Route,
) {
    tokio::select! {
        biased;
        () = route.cut.cancelled() => {}
        () = relay(&forward, &client, peer, route.target) => {}
    }
    drop(client);
    drop(slot);
}

async fn relay(forward: &Forward, client: &TcpStream, peer: SocketAddr, target: SocketAddr) {
    let service = match dial_permitted(forward, target).await {
        Ok(service) => service,
        Err(error) => {
            forward.tally.dial_failures.fetch_add(1, Ordering::Relaxed);
            let reason = error.source().map(|source| source as &dyn Error);
            tracing::debug!(%peer, %target, %error, reason, "no connection to the service; client reset");
            return;
        }
    };
    if pump(client, &service.stream, &forward.traffic).await == End::Complete {
        close_in_order(client);
        close_in_order(&service.stream);
    }
}

async fn dial_permitted(forward: &Forward, target: SocketAddr) -> Result<Dialled, DialError> {
    forward.gate.permits(target).map_err(DialError::NotPermitted)?;
    dial(
        target,
        forward.budget.limits().dial_timeout,
        forward.budget.outbound(),
    )
    .await
}

/// What is still on its way may arrive after the close. A socket that refuses this is dead already.
fn close_in_order(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(None) {
        tracing::trace!(%error, "a finished connection could not be closed in order");
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

    use tokio::net::TcpListener;

    use super::*;
    use crate::outbound::Outbound;

    #[tokio::test]
    async fn sockets_send_at_once_and_a_silent_client_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let timeout = Duration::from_secs(10);

        let service = dial(
            listener.local_addr().unwrap(),
            timeout,
            &Arc::new(Outbound::default()),
        )
        .await
        .unwrap();
        let (client, _) = listener.accept().await.unwrap();
        prepare(&client).unwrap();

        assert!(service.stream.nodelay().unwrap());
        assert!(client.nodelay().unwrap());
        let socket = SockRef::from(&client);
        assert!(socket.keepalive().unwrap());
        assert_eq!(
            socket.linger().unwrap(),
            Some(Duration::ZERO),
            "an unfinished connection ends by a reset"
        );
        close_in_order(&client);
        assert_eq!(SockRef::from(&client).linger().unwrap(), None);
    }
}
