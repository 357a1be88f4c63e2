//! The questions that precede every connection and every datagram: may this client come in, and may its target be
//! dialled? The answers live with whoever knows the sessions and the addresses.

use std::fmt::Debug;
use std::net::SocketAddr;

/// Says who may come in and what may be dialled, at this moment.
///
/// A forward outlives the facts that allowed it: the address of a virtual machine can pass to somebody else. So the
/// answers are never kept; they are asked for again for every connection. A UDP flow may go on for ever, so there both
/// are asked for every datagram, whichever way it goes; where the answer is no, the flow is over. Both return quickly
/// and without blocking, as they run on the tasks that accept clients and carry connections.
pub trait Gate: Send + Sync + Debug {
    /// Whether the client at this address may come in by the listener at that one; asked before anything is dialled for it. An
    /// IPv4 client of a dual-stack listener is named by its IPv4 address.
    ///
    /// # Errors
    /// The reason why the client is reset or its datagram dropped, as a log line shows it.
    fn admits(&self, client: SocketAddr, listener: SocketAddr) -> Result<(), String>;

    /// Whether the target may be dialled; asked before every attempt.
    ///
    /// # Errors
    /// The reason why `target` must not be dialled, as a log line shows it.
    fn permits(&self, target: SocketAddr) -> Result<(), String>;
}
