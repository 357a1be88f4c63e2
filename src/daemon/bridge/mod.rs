//! Carries connections from the VM's address to services that listen on loopback, for rules that say `loopback = "bridge"`.
//!
//! A service on 127.0.0.1 trusts its clients more than one on the network does: they are on the same machine. A bridge
//! breaks that promise, so there is one only where somebody has asked for it, and it serves nobody but the companion: who
//! else has a way to the VM's address (a container, another host behind Windows) is reset. Who may come to the companion
//! is decided there, as for every forward.
//!
//! It carries TCP only. Bridges are kept by a task of its own, which the event loop tells what it wants; they are
//! recognised among the listeners by their holder, which is this very process.

mod carry;
mod gate;
mod listen;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::carry::Bridges;

/// How often a bridge that could not be opened is tried again. An attempt costs two system calls.
const PAUSE: Duration = Duration::from_secs(1);

/// A bridge that should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bridge {
    /// Where to accept connections: the VM's address as Windows dials it.
    pub address: IpAddr,
    /// The port there, or another one where somebody else has it.
    pub port: u16,
    /// The service.
    pub target: SocketAddr,
}

/// What the event loop wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeWants {
    /// All bridges that should be, by the id of the service's listener. Listeners that ask for the same bridge (a group
    /// that shares its port) share it.
    pub bridges: BTreeMap<u64, Bridge>,
    /// Listeners that live on but must no longer be reached: the connections of their bridges are cut. Those of a listener
    /// that is merely missing from `bridges` end by themselves, as it may have closed after its last client.
    pub revoked: BTreeSet<u64>,
    /// The only client: the companion of the authenticated session. While it is unknown, nobody comes in.
    pub companion: Option<IpAddr>,
}

/// What became of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeState {
    /// It accepts connections here.
    Open(SocketAddr),
    /// It could not be opened.
    Failed {
        /// Why, for people, with the fix where there is one.
        reason: String,
    },
}

/// What became of each bridge that was asked for, by the id of the service's listener.
pub type BridgeStates = BTreeMap<u64, BridgeState>;

/// Starts the task that keeps the bridges as they are wanted, until `stop` or until the sender is gone; then every port
/// is closed and every connection is cut. The receiver fails only when the task has ended.
///
/// # Panics
/// Outside a tokio runtime with I/O and time.
pub fn spawn(stop: CancellationToken) -> (watch::Sender<BridgeWants>, watch::Receiver<BridgeStates>) {
    let (wants, wants_seen) = watch::channel(BridgeWants::default());
    let (states, states_seen) = watch::channel(BridgeStates::default());
    tokio::spawn(keep(wants_seen, states, stop));
    (wants, states_seen)
}

async fn keep(
    mut wants: watch::Receiver<BridgeWants>,
    states: watch::Sender<BridgeStates>,
    stop: CancellationToken,
) {
    let mut bridges = Bridges::new(wants.clone());
    loop {
        let wanted = wants.borrow_and_update().clone();
        let new = bridges.reconcile(&wanted).await;
        states.send_if_modified(|before| {
            let changed = *before != new;
            *before = new;
            changed
        });
        tokio::select! {
            () = stop.cancelled() => break,
            changed = wants.changed() => if changed.is_err() {
                break;
            },
            () = sleep(PAUSE), if bridges.are_unsettled() => {}
        }
    }
    bridges.close().await;
}

#[cfg(test)]
mod tests;
