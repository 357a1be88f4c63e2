//! The control port: who may speak, what a request must look like, which handler takes it. Everything that a request
//! asks for is decided by the [engine](crate::engine); nothing is decided here.
//!
//! The order of defence: at most a few handshakes at once ([`accept`]), TLS with pinned keys (`wslnet-link`), headers
//! that only our own client sends ([`guard`]), bounded bodies ([`body`]).

mod accept;
mod body;
mod connections;
mod doors;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guard;
mod routes;

use std::net::SocketAddr;

pub use accept::serve;
pub use connections::Connections;
pub use routes::openapi;

use crate::ledger::ConnectionId;

/// Who sends a request: established by the TLS handshake, the same for all requests of a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name under which the key of the connection is trusted.
    pub distro: String,
    /// Whence the connection comes.
    pub peer: SocketAddr,
    /// The connection itself; a session lives on one connection only.
    pub connection: ConnectionId,
}
