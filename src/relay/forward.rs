//! What the listeners and connections of one forward have in common: where it leads, what it counts, who it admits.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::connection::Admission;
use crate::crowd::Crowd;
use crate::entrance::Entrance;
use crate::gate::{Gate, guarded};
use crate::options;
use crate::pump::Traffic;

/// What a forward has done since it was made.
///
/// A UDP forward has flows for connections. It knows no clients before they have one, so what it refuses are datagrams,
/// and a client that tries again and again counts each time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that are live now.
    pub connections: usize,
    /// Clients taken on, in total: those within the limits, whether or not the service could be reached.
    pub accepted: u64,
    /// Clients turned away by a limit.
    pub refused_by_limit: u64,
    /// Clients turned away because they were this program itself.
    pub refused_loops: u64,
    /// Clients that the [`Gate`] did not admit.
    pub refused_clients: u64,
    /// Clients whose service refused, did not answer in time or may not be dialled. Silence is no failure in UDP.
    pub dial_failures: u64,
    /// Bytes carried from clients to the service: those handed to the service's socket.
    pub bytes_in: u64,
    /// Bytes carried from the service to clients: those handed to a client's socket.
    pub bytes_out: u64,
}

impl Counters {
    /// Clients turned away before anything was dialled for them, for whatever reason. Those whose dial failed were
    /// taken on, and are not among them.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused_by_limit + self.refused_loops + self.refused_clients
    }
}

/// The counters that count clients.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused_by_limit: AtomicU64,
    pub(crate) refused_loops: AtomicU64,
    pub(crate) refused_clients: AtomicU64,
    pub(crate) dial_failures: AtomicU64,
}

impl Tally {
    /// Everything that is counted of a forward with `connections` live connections.
    pub(crate) fn counters(&self, connections: usize, traffic: &Traffic) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            connections,
            accepted: read(&self.accepted),
            refused_by_limit: read(&self.refused_by_limit),
            refused_loops: read(&self.refused_loops),
            refused_clients: read(&self.refused_clients),
            dial_failures: read(&self.dial_failures),
            bytes_in: read(&traffic.inward),
            bytes_out: read(&traffic.outward),
        }
    }
}

/// Where new connections go, and what ends those that went there.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) target: SocketAddr,
    pub(crate) cut: CancellationToken,
}

/// The shared side of a [`crate::Forwarder`]. Its connections keep it alive.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) tally: Tally,
    pub(crate) traffic: Traffic,
    route: Mutex<Route>,
    live: Arc<Crowd>,
}

impl Forward {
    pub(crate) fn new(target: SocketAddr, gate: Arc<dyn Gate>, budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            gate: guarded(gate),
            budget,
            tally: Tally::default(),
            traffic: Traffic::default(),
            route: Mutex::new(Route {
                target,
                cut: CancellationToken::new(),
            }),
            live: Arc::default(),
        })
    }

    pub(crate) fn target(&self) -> SocketAddr {
        self.lock_route().target
    }

    /// Sends new connections to `target` and ends all others.
    pub(crate) fn retarget(&self, target: SocketAddr) {
        let former = std::mem::replace(
            &mut *self.lock_route(),
            Route {
                target,
                cut: CancellationToken::new(),
            },
        );
        former.cut.cancel();
    }

    /// Ends all connections; new ones are welcome.
    pub(crate) fn cut(&self) {
        let former = std::mem::take(&mut self.lock_route().cut);
        former.cancel();
    }

    /// Returns when no connection is left.
    pub(crate) async fn deserted(&self) {
        self.live.deserted().await;
    }

    /// What a client is granted; `None` if it is to be reset.
    pub(crate) fn admit(
        self: &Arc<Self>,
        client: &TcpStream,
        peer: SocketAddr,
        listener: SocketAddr,
        entrance: &Entrance,
    ) -> Option<Admission> {
        if let Err(error) = options::prepare_accepted(&SockRef::from(client)) {
            tracing::debug!(%peer, %error, "a client's socket took no options");
        }
        let local = if listener.ip().is_unspecified() {
            client.local_addr()
        } else {
            Ok(listener)
        };
        let ours = local.is_ok_and(|local| self.budget.outbound().contains(peer, local));
        if ours {
            self.tally.refused_loops.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, target = %self.target(), "a forward leads back to itself; client reset");
            return None;
        }
        if let Err(reason) = self.gate.admits(canonical(peer), listener) {
            self.tally.refused_clients.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, target = %self.target(), reason, "a client may not come in; reset");
            return None;
        }
        let Some(slot) = self.budget.connection_slot(&self.live) else {
            self.tally.refused_by_limit.fetch_add(1, Ordering::Relaxed);
            self.report_limit(peer);
            return None;
        };
        self.tally.accepted.fetch_add(1, Ordering::Relaxed);
        Some(Admission {
            forward: Arc::clone(self),
            peer,
            route: self.lock_route().clone(),
            _slot: slot,
            visit: entrance.visit(),
        })
    }

    pub(crate) fn counters(&self) -> Counters {
        self.tally.counters(self.live.count(), &self.traffic)
    }

    fn report_limit(&self, peer: SocketAddr) {
        let (target, live, total) = (self.target(), self.live.count(), self.budget.connections());
        if self.budget.warn_of_limit() {
            tracing::warn!(%peer, %target, live, total, "too many connections; new clients are reset");
        } else {
            tracing::debug!(%peer, %target, live, total, "too many connections; client reset");
        }
    }

    fn lock_route(&self) -> MutexGuard<'_, Route> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An IPv4 address in its plain form, and every other as it is, with its scope.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_counts_as_one_and_a_failed_dial_does_not() {
        let counters = Counters {
            refused_by_limit: 1,
            refused_loops: 10,
            refused_clients: 100,
            dial_failures: 1000,
            ..Counters::default()
        };

        assert_eq!(counters.refused(), 111);
    }
}
