//! The relay backend: one [`Forwarder`] for each forward, and what each of its addresses came to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use wslnet_console::output::chain;
use wslnet_protocol::{ForwardId, Protocol};
use wslnet_relay::{Budget, Connections, Counters, Gate, Lanes, Limits};

use super::forwarder::{Door, Forwarder, NotListening};
use crate::host::{self, Awake, BindError, BindRound, Obstacle, Obstacles};
use crate::ledger::Key;
use crate::plan::{Action, Actual, Applied, Failure};

/// How many reasons are looked for in one round; each costs a walk through the process table.
const LOOKUPS: usize = 2;
/// How many changes of one round the log names.
const TOLD: usize = 30;
/// How long a reason that was found counts.
const OWNER_TIME: Duration = Duration::from_secs(5);

/// All forwards that this program relays.
#[derive(Debug)]
pub struct Relays {
    budget: Arc<Budget>,
    gate: Arc<dyn Gate>,
    forwarders: BTreeMap<Key, Forwarder>,
    actual: Actual,
    draining: Vec<Draining>,
    search: Search,
    /// The control port and whoever decides here are not on them. Last, as nothing is left on them by then.
    lanes: Lanes,
}

/// The search for whatever keeps ports from being opened.
#[derive(Debug, Default)]
struct Search {
    obstacles: Obstacles,
    /// When the reason for an address was last found.
    asked: BTreeMap<(Protocol, SocketAddr), Awake>,
}

/// One round of actions: what is read or counted once for all of them.
struct Round {
    told: usize,
    binds: BindRound,
    lookups: usize,
    now: Awake,
}

/// A forward whose listener went away in the guest while connections went on.
#[derive(Debug)]
struct Draining {
    distro: String,
    id: ForwardId,
    forwarder: Forwarder,
}

/// A forward whose ports are about to close.
#[derive(Debug)]
struct Closing {
    former: Draining,
    connections: Connections,
}

impl Closing {
    /// Closes its ports; they are free when this returns. What is left is what drains.
    async fn close(self) -> Option<Draining> {
        let Self {
            mut former,
            connections,
        } = self;
        match connections {
            Connections::Cut => {
                former.forwarder.close(Connections::Cut).await;
                None
            }
            Connections::Drain => {
                for address in former.forwarder.listening() {
                    // They would keep WSL from the port, if it wants it next.
                    let connections = if address.ip().is_loopback() {
                        Connections::Cut
                    } else {
                        Connections::Drain
                    };
                    former.forwarder.unlisten(address, connections).await;
                }
                Some(former)
            }
        }
    }
}

impl Round {
    /// Tells of one change. A set of a thousand forwards must not flood the log: what exceeds a screen is only counted.
    fn tell(&mut self, event: impl FnOnce()) {
        self.told += 1;
        if self.told <= TOLD {
            event();
        }
    }
}

impl Relays {
    /// No forwards yet; `gate` is asked before every dial.
    pub fn new(gate: Arc<dyn Gate>) -> Self {
        Self {
            budget: Budget::new(Limits::default()),
            gate,
            forwarders: BTreeMap::new(),
            actual: Actual::default(),
            draining: Vec::new(),
            search: Search::default(),
            lanes: Lanes::default(),
        }
    }

    /// What is open now, and what could not be opened.
    pub fn actual(&self) -> &Actual {
        &self.actual
    }

    /// Whether nothing is tried again and nothing drains.
    pub fn is_settled(&self) -> bool {
        !self.actual.has_failures() && self.draining.is_empty()
    }

    /// What a forward has carried so far.
    pub fn counters(&self, key: &Key) -> Option<Counters> {
        self.forwarders.get(key).map(Forwarder::counters)
    }

    /// Executes actions in their order. Ports that an action closes are free when this returns.
    pub async fn apply(&mut self, actions: Vec<Action>) {
        let mut round = Round {
            told: 0,
            binds: BindRound::default(),
            lookups: LOOKUPS,
            now: host::awake(),
        };
        let mut closing = Vec::new();
        for action in actions {
            if let Action::Close { key, connections } = action {
                closing.extend(self.take(key, connections, &mut round));
                continue;
            }
            // Nothing opens before the ports are free.
            self.close(std::mem::take(&mut closing)).await;
            match action {
                // Taken out above.
                Action::Close { .. } => {}
                Action::Open {
                    key,
                    distro,
                    id,
                    target,
                } => self.open(key, distro, id, target),
                Action::Adopt { key, id } => self.adopt(key, id),
                Action::Retarget { key, target } => self.retarget(key, target),
                Action::Unlisten { key, address } => self.unlisten(key, address).await,
                Action::Listen { key, address } => self.listen(key, Door::Network(address), &mut round),
                Action::FillGap { key } => self.listen(key, Door::LoopbackGap(key.port), &mut round),
            }
        }
        self.close(closing).await;
        if let Some(more) = round.told.checked_sub(TOLD).filter(|more| *more > 0) {
            tracing::info!(more, "and more ports were opened or closed");
        }
    }

    /// Cuts what still drains of the distros that are gone and of the listeners that were revoked, and forgets what
    /// has drained.
    pub fn sweep(&mut self, living: &BTreeSet<&str>, revoked: &BTreeSet<(&str, ForwardId)>) {
        self.draining.retain(|entry| {
            let unwanted = !living.contains(entry.distro.as_str())
                || revoked.contains(&(entry.distro.as_str(), entry.id));
            // Dropping a forwarder cuts its connections.
            !unwanted && entry.forwarder.counters().connections > 0
        });
    }

    /// Cuts what still drains of a distro: it talks to a VM, or to an address, that is not there any more.
    pub fn cut_draining(&mut self, distro: &str) {
        self.draining.retain(|entry| entry.distro != distro);
    }

    /// Cuts whatever still drains: what it came in by may no longer be allowed.
    pub fn cut_all_draining(&mut self) {
        self.draining.clear();
    }

    /// Closes every port and cuts every connection.
    pub async fn close_all(&mut self) {
        self.draining.clear();
        self.actual.relays.clear();
        let forwarders = std::mem::take(&mut self.forwarders).into_values();
        join_all(forwarders.map(|forwarder| forwarder.close(Connections::Cut))).await;
    }

    /// Takes a forward out of what is open.
    fn take(&mut self, key: Key, connections: Connections, round: &mut Round) -> Option<Closing> {
        let (forwarder, applied) = (self.forwarders.remove(&key)?, self.actual.relays.remove(&key)?);
        // One that listened nowhere closes nothing: a search for a free port passes many by.
        if !applied.listening.is_empty() {
            round.tell(|| {
                tracing::info!(protocol = %key.protocol, port = key.port, distro = %applied.distro, "closed");
            });
        }
        let former = Draining {
            distro: applied.distro,
            id: applied.id,
            forwarder,
        };
        Some(Closing { former, connections })
    }

    /// Closes all at once: each waits for its own tasks, and a thousand of them in a row would be a long time on a busy machine.
    async fn close(&mut self, closing: Vec<Closing>) {
        let closed = join_all(closing.into_iter().map(Closing::close)).await;
        self.draining.extend(closed.into_iter().flatten());
    }

    fn open(&mut self, key: Key, distro: String, id: ForwardId, target: SocketAddr) {
        let (gate, budget) = (self.gate.clone(), self.budget.clone());
        let forwarder = Forwarder::new(key.protocol, target, gate, budget, &self.lanes);
        let applied = Applied {
            distro,
            id,
            target,
            listening: BTreeSet::new(),
            failed: BTreeMap::new(),
        };
        self.forwarders.insert(key, forwarder);
        self.actual.relays.insert(key, applied);
    }

    fn adopt(&mut self, key: Key, id: ForwardId) {
        if let Some(applied) = self.actual.relays.get_mut(&key) {
            applied.id = id;
        }
    }

    fn retarget(&mut self, key: Key, target: SocketAddr) {
        if let (Some(forwarder), Some(applied)) =
            (self.forwarders.get_mut(&key), self.actual.relays.get_mut(&key))
        {
            let Key { protocol, port } = key;
            tracing::info!(%protocol, port, distro = %applied.distro, %target, "the guest's address changed");
            forwarder.retarget(target);
            applied.target = target;
        }
    }

    async fn unlisten(&mut self, key: Key, address: SocketAddr) {
        if let (Some(forwarder), Some(applied)) =
            (self.forwarders.get_mut(&key), self.actual.relays.get_mut(&key))
        {
            forwarder.unlisten(address, Connections::Cut).await;
            applied.listening.remove(&address);
            applied.failed.remove(&address);
        }
    }

    fn listen(&mut self, key: Key, door: Door, round: &mut Round) {
        let (Some(forwarder), Some(applied)) =
            (self.forwarders.get_mut(&key), self.actual.relays.get_mut(&key))
        else {
            return;
        };
        let address = door.address();
        match forwarder.listen(door, &mut round.binds) {
            Ok(()) => {
                round.tell(|| {
                    tracing::info!(
                        protocol = %key.protocol, %address, distro = %applied.distro, target = %applied.target,
                        "opened"
                    );
                });
                applied.failed.remove(&address);
                applied.listening.insert(address);
            }
            Err(NotListening::Bind(error)) => {
                let before = applied.failed.remove(&address);
                let place = (key.protocol, address);
                let failure = explain(place, &error, before, &mut self.search, round);
                let failure = match door {
                    Door::Network(_) => failure,
                    Door::LoopbackGap(_) => left_alone(failure, address, applied.target),
                };
                applied.failed.insert(address, failure);
            }
            Err(NotListening::Relay(error)) => {
                let failure = Failure {
                    reason: format!("{address}: {}", chain(&error)),
                    conflict: None,
                    stuck: None,
                };
                applied.failed.insert(address, failure);
            }
        }
    }
}

/// Says why an address could not be opened. The search for the reason is costly, so what was found counts for a while, and
/// a round looks for a few only: the next round, a moment later, looks for the next ones.
fn explain(
    place: (Protocol, SocketAddr),
    error: &BindError,
    before: Option<Failure>,
    search: &mut Search,
    round: &mut Round,
) -> Failure {
    let known = search
        .asked
        .get(&place)
        .is_some_and(|asked| round.now.saturating_since(*asked) < OWNER_TIME);
    let counts =
        |before: &Failure| error.is_conflict() && before.conflict.is_some() && (known || round.lookups == 0);
    if let Some(before) = before.filter(counts) {
        return before;
    }
    let (protocol, address) = place;
    let obstacle = if error.is_conflict() && round.lookups > 0 {
        round.lookups -= 1;
        search.obstacles.look(protocol, address, error, round.now)
    } else {
        Obstacle::unexplored(address, error)
    };
    search
        .asked
        .retain(|_, asked| round.now.saturating_since(*asked) < OWNER_TIME);
    if obstacle.is_final && error.is_conflict() {
        search.asked.insert(place, round.now);
    }
    let Obstacle { reason, conflict, .. } = obstacle;
    tracing::debug!(%protocol, %address, reason, "could not be opened");
    Failure {
        reason,
        conflict,
        stuck: None,
    }
}

/// The same about Windows' own 127.0.0.1, from which nobody is asked to go: it is an addition.
fn left_alone(failure: Failure, address: SocketAddr, target: SocketAddr) -> Failure {
    let Some(conflict) = failure.conflict else {
        return failure;
    };
    Failure {
        reason: format!(
            "{address} of Windows itself was {conflict}; Windows reaches the service at {target} all the same"
        ),
        conflict: Some(conflict),
        stuck: None,
    }
}
