//! The open connections of the control port, so that the engine can end one: a session that was superseded, a key
//! that is no longer trusted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::ledger::ConnectionId;

/// An old and a new connection may overlap while a daemon restarts; more is a fault of the peer.
const PER_DISTRO: usize = 2;

/// All authenticated connections. Cheap to clone; clones share the same table.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    open: BTreeMap<ConnectionId, (String, CancellationToken)>,
}

impl Connections {
    /// Registers a connection of `distro` and says how it will be told to end. When the distro already has as many
    /// as it may have, its oldest is ended: that one is the likeliest to be dead.
    pub(super) fn enter(&self, distro: &str) -> (ConnectionId, CancellationToken) {
        let mut table = self.lock();
        let mut of_distro = table
            .open
            .iter()
            .filter(|(_, (owner, _))| owner == distro)
            .map(|(id, _)| *id)
            .collect::<Vec<_>>();
        while of_distro.len() >= PER_DISTRO {
            let oldest = of_distro.remove(0);
            if let Some((_, end)) = table.open.remove(&oldest) {
                end.cancel();
            }
        }
        table.last += 1;
        let id = ConnectionId(table.last);
        let end = CancellationToken::new();
        table.open.insert(id, (distro.to_owned(), end.clone()));
        (id, end)
    }

    /// Forgets a connection that has ended.
    pub(super) fn leave(&self, id: ConnectionId) {
        self.lock().open.remove(&id);
    }

    /// Ends one connection.
    pub fn close(&self, id: ConnectionId) {
        if let Some((_, end)) = self.lock().open.remove(&id) {
            end.cancel();
        }
    }

    /// Ends every connection of a distro.
    pub fn close_distro(&self, distro: &str) {
        self.lock().open.retain(|_, (owner, end)| {
            let keep = owner != distro;
            if !keep {
                end.cancel();
            }
            keep
        });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code panics while it holds this lock, and the table is sound between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_connection_of_a_distro_ends_its_first() {
        let connections = Connections::default();
        let (_, first) = connections.enter("debian");
        let (_, second) = connections.enter("debian");
        let (_, other) = connections.enter("ubuntu");

        let (_, third) = connections.enter("debian");

        assert!(first.is_cancelled());
        assert!(!second.is_cancelled() && !third.is_cancelled() && !other.is_cancelled());
    }

    #[test]
    fn a_distro_that_lost_its_trust_loses_its_connections_only() {
        let connections = Connections::default();
        let (_, debian) = connections.enter("debian");
        let (_, ubuntu) = connections.enter("ubuntu");

        connections.close_distro("debian");

        assert!(debian.is_cancelled());
        assert!(!ubuntu.is_cancelled());
    }
}
