//! The questions that precede every connection and every datagram: may this client come in, and may its target be
//! dialled? The answers live with whoever knows the sessions and the addresses.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Says who may come in and what may be dialled, at this moment.
///
/// A forward outlives the facts that allowed it: the address of a virtual machine can pass to somebody else. So the
/// answers are never kept; they are asked for again for every connection. A UDP flow may go on for ever, so there both
/// are asked for every datagram, whichever way it goes; where the answer is no, the flow is over. Both return quickly
/// and without blocking, as they run on the lanes that accept clients and carry connections. A panic counts as a no.
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

/// The same gate, whose panics are answers, and those are no: else one client could end the task that accepts all others.
pub(crate) fn guarded(gate: Arc<dyn Gate>) -> Arc<dyn Gate> {
    Arc::new(Guarded(gate))
}

#[derive(Debug)]
struct Guarded(Arc<dyn Gate>);

impl Gate for Guarded {
    fn admits(&self, client: SocketAddr, listener: SocketAddr) -> Result<(), String> {
        no_panic(|| self.0.admits(client, listener))
    }

    fn permits(&self, target: SocketAddr) -> Result<(), String> {
        no_panic(|| self.0.permits(target))
    }
}

/// The panic itself is told by the program's hook. What the gate knows is its own, and it is asked again for the next client.
fn no_panic(ask: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(ask))
        .unwrap_or_else(|_panic| Err("the question failed by a panic".to_owned()))
}
