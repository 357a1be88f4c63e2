//! The backend that companion.toml chooses, handled in one way whichever it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use wslnet_protocol::ForwardId;
use wslnet_relay::{Counters, Gate};

use super::Relays;
use super::portproxy::Portproxy;
use crate::config::Backend;
use crate::host::Awake;
use crate::ledger::Key;
use crate::plan::{Action, Actual};

/// What executes the plan.
#[derive(Debug)]
pub enum Executor {
    /// Our own sockets.
    Relay(Relays),
    /// Entries of Windows' portproxy.
    Portproxy(Portproxy),
}

impl Executor {
    /// The one for a backend, with no forwards yet. A relay asks `gate` before every dial; portproxy keeps its journal in
    /// `state_dir`.
    pub fn new(backend: Backend, gate: Arc<dyn Gate>, state_dir: &Path) -> Self {
        match backend {
            Backend::Relay => Self::Relay(Relays::new(gate)),
            Backend::Portproxy => Self::Portproxy(Portproxy::new(state_dir)),
        }
    }

    /// By what it applies forwards.
    pub fn backend(&self) -> Backend {
        match self {
            Self::Relay(_) => Backend::Relay,
            Self::Portproxy(_) => Backend::Portproxy,
        }
    }

    /// Whether it could do its work now, in a sentence for people; empty where nothing can stand in its way.
    pub fn capability(&self) -> String {
        match self {
            Self::Relay(_) => String::new(),
            Self::Portproxy(portproxy) => portproxy.capability(),
        }
    }

    /// What is open now, and what could not be opened.
    pub fn actual(&self) -> &Actual {
        match self {
            Self::Relay(relays) => relays.actual(),
            Self::Portproxy(portproxy) => portproxy.actual(),
        }
    }

    /// What a forward has carried so far; `None` where nobody counts.
    pub fn counters(&self, key: &Key) -> Option<Counters> {
        match self {
            Self::Relay(relays) => relays.counters(key),
            Self::Portproxy(_) => None,
        }
    }

    /// Whether there is something to try again or to look at, though nothing that the plan depends on has changed.
    pub fn is_due(&self, now: Awake) -> bool {
        match self {
            Self::Relay(relays) => relays.actual().has_failures(),
            Self::Portproxy(portproxy) => portproxy.is_due(now),
        }
    }

    /// Whether nothing has to be looked at before something changes. Others may change portproxy's entries at any time.
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Relay(relays) => relays.is_settled(),
            Self::Portproxy(portproxy) => portproxy.is_idle(),
        }
    }

    /// Executes actions in their order. `vms` names the run of the VM in which each distro is.
    pub async fn apply(&mut self, actions: Vec<Action>, vms: BTreeMap<String, String>) {
        match self {
            Self::Relay(relays) => relays.apply(actions).await,
            Self::Portproxy(portproxy) => portproxy.apply(actions, vms).await,
        }
    }

    /// See [`Relays::sweep`]. Connections through portproxy are beyond our reach.
    pub fn sweep(&mut self, living: &BTreeSet<&str>, revoked: &BTreeSet<(&str, ForwardId)>) {
        match self {
            Self::Relay(relays) => relays.sweep(living, revoked),
            Self::Portproxy(_) => {}
        }
    }

    /// See [`Relays::cut_draining`].
    pub fn cut_draining(&mut self, distro: &str) {
        match self {
            Self::Relay(relays) => relays.cut_draining(distro),
            Self::Portproxy(_) => {}
        }
    }

    /// See [`Relays::cut_all_draining`].
    pub fn cut_all_draining(&mut self) {
        match self {
            Self::Relay(relays) => relays.cut_all_draining(),
            Self::Portproxy(_) => {}
        }
    }

    /// Closes everything.
    pub async fn close_all(&mut self) {
        match self {
            Self::Relay(relays) => relays.close_all().await,
            Self::Portproxy(portproxy) => {
                if let Some(reason) = portproxy.close_all().left {
                    tracing::warn!(
                        reason,
                        "portproxy entries are left; the next start, or `purge`, removes them"
                    );
                }
            }
        }
    }
}
