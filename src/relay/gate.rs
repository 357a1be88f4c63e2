//! The question that precedes every dial. The answers live with whoever knows the sessions and the addresses.

use std::fmt::Debug;
use std::net::SocketAddr;

/// Says whether an address may be dialled at this moment.
///
/// A forward outlives the facts that allowed it: the address of a virtual machine can pass to somebody else. So the
/// answer is never kept; it is asked for again for every connection.
pub trait Gate: Send + Sync + Debug {
    /// Returns quickly and without blocking; it runs on the tasks that carry the connections.
    ///
    /// # Errors
    /// The reason why `target` must not be dialled, as a log line shows it.
    fn permits(&self, target: SocketAddr) -> Result<(), String>;
}
