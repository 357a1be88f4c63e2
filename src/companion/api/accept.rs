//! Connections: a bounded number of handshakes, then requests of one pinned peer until it goes or is told to go.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use wslnet_protocol::limits;

use super::{Caller, Connections, routes};
use crate::engine::Engine;
use crate::trust::Trust;

const HANDSHAKES: usize = 32;
const HANDSHAKES_PER_ADDRESS: usize = 4;
const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
/// An idle connection outlives a lease by little: nobody needs it after that.
const IDLE_TIME: Duration = limits::LEASE.saturating_add(Duration::from_secs(5));
/// How long to wait after a failed `accept`, so that running out of file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the control port until `stop`.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    trust: Trust,
    engine: Engine,
    connections: Connections,
    stop: CancellationToken,
) {
    let port = Arc::new(Port {
        acceptor: TlsAcceptor::from(tls),
        router: routes::router(engine.clone()),
        trust,
        engine,
        connections,
        doors: Doors::default(),
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => port.clone().admit(stream, peer, stop.child_token()),
            Err(error) => {
                tracing::warn!(%error, "the control port could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Port {
    acceptor: TlsAcceptor,
    router: Router,
    trust: Trust,
    engine: Engine,
    connections: Connections,
    doors: Doors,
}

impl Port {
    fn admit(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
        let Some(pass) = self.doors.enter(peer.ip()) else {
            tracing::debug!(%peer, "too many handshakes at once; connection refused");
            reset(&stream);
            return;
        };
        tokio::spawn(async move {
            if let Err(error) = self.converse(stream, peer, pass, stop).await {
                tracing::debug!(%peer, %error, "a connection of the control port failed");
            }
        });
    }

    async fn converse(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        pass: Pass,
        stop: CancellationToken,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let stream = tokio::time::timeout(HANDSHAKE_TIME, self.acceptor.accept(stream))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no handshake in time"))??;
        drop(pass);
        let session = stream.get_ref().1;
        let key = wslnet_link::peer_key(session).filter(|_| wslnet_link::alpn_agreed(session));
        // The pin was checked in the handshake; it may have been withdrawn since.
        let trusted_as = || key.and_then(|key| self.trust.distro_of(&key));
        let untrusted = || io::Error::new(io::ErrorKind::PermissionDenied, "the key is not trusted");
        let distro = trusted_as().ok_or_else(untrusted)?;

        let (id, end) = self.connections.enter(&distro);
        // Asked again, because a withdrawal ends the connections that it finds, and it may just have missed this one.
        if trusted_as().as_ref() != Some(&distro) {
            self.connections.leave(id);
            return Err(untrusted());
        }
        let caller = Caller {
            distro,
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            connection: id,
        };
        let service = TowerToHyperService::new(self.router.clone().layer(Extension(caller)));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIME)
            .max_header_size(limits::HEAD_BYTES)
            .max_headers(32)
            .serve_connection(TokioIo::new(stream), service);
        let outcome = tokio::select! {
            outcome = connection => outcome.map_err(io::Error::other),
            () = end.cancelled() => Ok(()),
            () = stop.cancelled() => Ok(()),
        };
        self.connections.leave(id);
        self.engine.lost(id).await;
        outcome
    }
}

/// Bounds the handshakes that run at once, in all and for each source address.
#[derive(Clone, Debug)]
struct Doors {
    all: Arc<Semaphore>,
    by_address: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(HANDSHAKES)),
            by_address: Arc::default(),
        }
    }
}

impl Doors {
    fn enter(&self, address: IpAddr) -> Option<Pass> {
        let place = self.all.clone().try_acquire_owned().ok()?;
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        if *count >= HANDSHAKES_PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Pass {
            address,
            by_address: self.by_address.clone(),
            _place: place,
        })
    }
}

/// A handshake under way; dropping it makes room for the next.
struct Pass {
    address: IpAddr,
    by_address: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// Ends a connection at once, so that a flood leaves nothing behind in the kernel.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a refused connection could not be reset");
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn handshakes_are_bounded_for_each_address_and_in_all() {
        let doors = Doors::default();
        let address = |n: u8| IpAddr::from([172, 28, 0, n]);

        let mut passes = (0..HANDSHAKES_PER_ADDRESS)
            .map(|_| doors.enter(address(2)).unwrap())
            .collect::<Vec<_>>();
        assert!(doors.enter(address(2)).is_none(), "the address has its share");
        while let Some(pass) = doors.enter(address(
            3 + u8::try_from(passes.len() / HANDSHAKES_PER_ADDRESS).unwrap(),
        )) {
            passes.push(pass);
        }

        assert_eq!(passes.len(), HANDSHAKES);
        passes.clear();
        assert!(doors.enter(address(2)).is_some(), "room again");
        assert!(doors.by_address.lock().unwrap().is_empty());
    }
}
