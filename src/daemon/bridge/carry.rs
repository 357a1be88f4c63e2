//! The bridges that are, and how they become those that are wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wslnet_console::output::chain;
use wslnet_relay::{Budget, Connections, Forwarder, Lanes, Limits};

use super::gate::CompanionOnly;
use super::listen::listen;
use super::{Bridge, BridgeState, BridgeStates, BridgeWants};

/// How many bridges there may be at a time: any program can listen on a thousand addresses of loopback.
pub(super) const MOST: usize = 256;
/// How many threads carry their bytes: whoever watches the listeners is not on them.
const LANES: usize = 2;

/// A connection takes two descriptors. With all bridges, all connections and all pipes for bulk data that is 2,432 of the 4,096
/// that the unit grants (`LimitNOFILE`); the rest is for what the daemon is there for. No single service can take more than a quarter.
fn limits() -> Limits {
    Limits {
        per_forward: 256,
        total: 1024,
        dial_timeout: Duration::from_secs(5),
        ..Limits::default()
    }
}

impl Bridge {
    /// What is dialled: an IPv4 address in IPv6 clothes is an IPv4 address.
    pub(super) fn target(&self) -> SocketAddr {
        SocketAddr::new(self.target.ip().to_canonical(), self.target.port())
    }
}

/// All bridges of this process.
#[derive(Debug)]
pub(super) struct Bridges {
    gate: Arc<CompanionOnly>,
    budget: Arc<Budget>,
    open: BTreeMap<Bridge, Open>,
    /// Why the others are not open.
    failed: BTreeMap<Bridge, String>,
    draining: Vec<Open>,
    /// The companion that was known last.
    companion: Option<IpAddr>,
    /// Started with the first bridge. Last, as nothing is left on them by then.
    lanes: Lanes,
}

/// A bridge that is open, or one whose port is closed while its connections go on.
#[derive(Debug)]
struct Open {
    forwarder: Forwarder,
    at: SocketAddr,
    /// The listeners that asked for it last.
    listeners: BTreeSet<u64>,
}

impl Bridges {
    /// None yet. `wants` is asked again for each connection.
    pub(super) fn new(wants: watch::Receiver<BridgeWants>) -> Self {
        Self {
            gate: Arc::new(CompanionOnly::new(wants)),
            budget: Budget::new(limits()),
            open: BTreeMap::new(),
            failed: BTreeMap::new(),
            draining: Vec::new(),
            companion: None,
            lanes: Lanes::new(LANES),
        }
    }

    /// Closes what is not wanted, then opens what is missing. Ports that it closes are free when this returns.
    pub(super) async fn reconcile(&mut self, wants: &BridgeWants) -> BridgeStates {
        let mut wanted: BTreeMap<Bridge, BTreeSet<u64>> = BTreeMap::new();
        for (id, bridge) in &wants.bridges {
            wanted.entry(*bridge).or_default().insert(*id);
        }
        self.follow_companion(wants.companion).await;
        self.close_unwanted(wants, &wanted).await;
        self.draining.retain(|former| {
            // Dropping a forwarder cuts its connections.
            former.listeners.is_disjoint(&wants.revoked) && former.forwarder.counters().connections > 0
        });
        self.failed.retain(|bridge, _| wanted.contains_key(bridge));
        for (bridge, listeners) in wanted {
            self.open(bridge, listeners);
        }
        let states = wants.bridges.iter().map(|(id, bridge)| (*id, self.state(bridge)));
        states.collect()
    }

    /// Whether there is something to do without being told: a port to try again, connections whose end is awaited.
    pub(super) fn are_unsettled(&self) -> bool {
        !self.failed.is_empty() || !self.draining.is_empty()
    }

    /// Closes every port and cuts every connection.
    pub(super) async fn close(mut self) {
        self.draining.clear();
        self.close_all().await;
    }

    /// Another companion has another address, and whoever has the former one now is not the companion. That it is away
    /// for a moment cuts nothing.
    async fn follow_companion(&mut self, companion: Option<IpAddr>) {
        let Some(now) = companion else { return };
        if self.companion.replace(now).is_some_and(|before| before != now) {
            self.draining.clear();
            self.close_all().await;
        }
    }

    async fn close_all(&mut self) {
        for open in std::mem::take(&mut self.open).into_values() {
            open.forwarder.close(Connections::Cut).await;
        }
    }

    async fn close_unwanted(&mut self, wants: &BridgeWants, wanted: &BTreeMap<Bridge, BTreeSet<u64>>) {
        let ending = self.open.iter().filter_map(|(bridge, open)| {
            // Its listener must not be reached any more, or is to be reached at another address as the VM has moved.
            let is_over = |id: &u64| {
                wants.revoked.contains(id) || wants.bridges.get(id).is_some_and(|other| other != bridge)
            };
            if open.listeners.iter().any(is_over) {
                Some((*bridge, Connections::Cut))
            } else {
                (!wanted.contains_key(bridge)).then_some((*bridge, Connections::Drain))
            }
        });
        for (bridge, connections) in ending.collect::<Vec<_>>() {
            let Some(mut open) = self.open.remove(&bridge) else {
                continue;
            };
            tracing::debug!(at = %open.at, target = %bridge.target, ?connections, "a bridge is closed");
            match connections {
                Connections::Cut => open.forwarder.close(Connections::Cut).await,
                Connections::Drain => {
                    open.forwarder.unlisten(open.at, Connections::Drain).await;
                    self.draining.push(open);
                }
            }
        }
    }

    fn open(&mut self, bridge: Bridge, listeners: BTreeSet<u64>) {
        if let Some(open) = self.open.get_mut(&bridge) {
            open.listeners = listeners;
            return;
        }
        match self.try_to_open(&bridge) {
            Ok((forwarder, at)) => {
                tracing::debug!(%at, target = %bridge.target, "a bridge is open");
                self.failed.remove(&bridge);
                let open = Open {
                    forwarder,
                    at,
                    listeners,
                };
                self.open.insert(bridge, open);
            }
            Err(reason) => {
                tracing::debug!(target = %bridge.target, reason, "a bridge cannot be opened");
                self.failed.insert(bridge, reason);
            }
        }
    }

    fn try_to_open(&self, bridge: &Bridge) -> Result<(Forwarder, SocketAddr), String> {
        let target = bridge.target();
        if !target.ip().is_loopback() {
            return Err(format!(
                "{target} is not on loopback, and a bridge leads to nothing else"
            ));
        }
        if self.open.len() >= MOST {
            return Err(format!(
                "there are {MOST} bridges already, the most there may be: let the rule name fewer ports"
            ));
        }
        let listener = listen(bridge.address, bridge.port).map_err(|error| chain(&error))?;
        let (gate, budget) = (Arc::clone(&self.gate) as _, Arc::clone(&self.budget));
        let mut forwarder = Forwarder::new(target, gate, budget, &self.lanes);
        let at = forwarder.listen(listener).map_err(|error| chain(&error))?;
        Ok((forwarder, at))
    }

    fn state(&self, bridge: &Bridge) -> BridgeState {
        match self.open.get(bridge) {
            Some(open) => BridgeState::Open(open.at),
            None => BridgeState::Failed {
                reason: self.failed.get(bridge).cloned().unwrap_or_default(),
            },
        }
    }
}
