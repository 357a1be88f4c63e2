//! Connections: a bounded number of handshakes, then requests of one pinned peer until it goes or is told to go.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use wslnet_protocol::limits;

use super::doors::{Doors, Pass};
use super::{Caller, Connections, routes};
use crate::engine::Engine;
use crate::trust::Trust;

const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
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
        let pass = self.doors.enter(peer.ip());
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
        let mut handshake = self.acceptor.accept(stream);
        let stream = tokio::select! {
            stream = &mut handshake => stream?,
            () = tokio::time::sleep(HANDSHAKE_TIME) => return Err(reset(handshake.get_ref(), "no handshake in time")),
            () = pass.revoked() => return Err(reset(handshake.get_ref(), "no handshake while others waited")),
        };
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

/// Lets a connection end at once when it is dropped, so that a flood leaves nothing behind in the kernel.
fn reset(stream: Option<&TcpStream>, why: &'static str) -> io::Error {
    let linger = stream.map_or(Ok(()), TcpStream::set_zero_linger);
    linger
        .err()
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::TimedOut, why))
}
