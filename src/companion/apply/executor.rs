//! What executes the plan: for distros in NAT mode the backend that companion.toml chooses, handled in one way whichever it is, and
//! beside it the firewall for those whose VM shares Windows' ports. The plan says of each forward which it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use wslnet_protocol::ForwardId;
use wslnet_relay::{Counters, Gate};

use super::Relays;
use super::firewall::{Admitted, Firewall};
use super::portproxy::Portproxy;
use crate::config::Backend;
use crate::firewall::Properties;
use crate::host::{self, Awake, Categories};
use crate::ledger::Key;
use crate::plan::{Action, Actual, Opening, Opinions};

/// What executes the plan.
#[derive(Debug)]
pub struct Executor {
    carrier: Carrier,
    /// What an earlier run with portproxy has left, until it can be removed, where that is not the backend any more.
    leftovers: Option<Box<Portproxy>>,
    firewall: Firewall,
}

/// What carries connections to the VM.
#[derive(Debug)]
enum Carrier {
    /// Our own sockets.
    Relay(Relays),
    /// Entries of Windows' portproxy.
    Portproxy(Box<Portproxy>),
}

impl Executor {
    /// The one for a backend, with no forwards yet. A relay asks `gate` before every dial; portproxy keeps its journal in
    /// `state_dir`.
    pub fn new(backend: Backend, gate: Arc<dyn Gate>, state_dir: &Path) -> Self {
        let (carrier, leftovers) = match backend {
            Backend::Relay => (Carrier::Relay(Relays::new(gate)), Portproxy::leftovers(state_dir)),
            Backend::Portproxy => (Carrier::Portproxy(Box::new(Portproxy::new(state_dir))), None),
        };
        Self {
            carrier,
            leftovers: leftovers.map(Box::new),
            firewall: Firewall::new(state_dir),
        }
    }

    /// By what it applies forwards.
    pub fn backend(&self) -> Backend {
        match &self.carrier {
            Carrier::Relay(_) => Backend::Relay,
            Carrier::Portproxy(_) => Backend::Portproxy,
        }
    }

    /// Whether it could do its work now, in a sentence for people; empty where nothing can stand in its way.
    pub fn capability(&self) -> String {
        match &self.carrier {
            Carrier::Relay(_) => String::new(),
            Carrier::Portproxy(portproxy) => portproxy.capability(),
        }
    }

    /// In networks of which categories the firewall lets clients in, where that is the backend's business.
    pub fn set_networks(&mut self, networks: Categories) {
        match &mut self.carrier {
            Carrier::Relay(_) => {}
            Carrier::Portproxy(portproxy) => portproxy.rules_mut().set_networks(networks),
        }
    }

    /// See [`PortRules::compare`](crate::firewall::PortRules::compare).
    pub fn compare_rules(&mut self, ours: &[Properties]) {
        match &mut self.carrier {
            Carrier::Relay(_) => {}
            Carrier::Portproxy(portproxy) => portproxy.rules_mut().compare(ours),
        }
    }

    /// What keeps the firewall's rules for the ports from being right.
    pub fn rule_trouble(&self) -> Option<String> {
        match &self.carrier {
            Carrier::Relay(_) => None,
            Carrier::Portproxy(portproxy) => portproxy.rules().trouble().map(ToString::to_string),
        }
    }

    /// What is open now, and what could not be opened.
    pub fn actual(&self) -> &Actual {
        match &self.carrier {
            Carrier::Relay(relays) => relays.actual(),
            Carrier::Portproxy(portproxy) => portproxy.actual(),
        }
    }

    /// What the firewall made of the openings.
    pub fn opinions(&self) -> &Opinions {
        self.firewall.opinions()
    }

    /// What is to be said of the firewall; empty where nobody needs it.
    pub fn firewall(&self) -> String {
        self.firewall.capability()
    }

    /// Has the firewall let the local network in at these ports, and at no others.
    pub async fn keep_open(&mut self, openings: &BTreeMap<Key, Opening>, admitted: Admitted) {
        self.firewall.keep(openings, admitted).await;
    }

    /// What a forward has carried so far; `None` where nobody counts.
    pub fn counters(&self, key: &Key) -> Option<Counters> {
        match &self.carrier {
            Carrier::Relay(relays) => relays.counters(key),
            Carrier::Portproxy(_) => None,
        }
    }

    /// Whether there is something to try again or to look at, though nothing that the plan depends on has changed.
    pub fn is_due(&self, now: Awake) -> bool {
        let carrier = match &self.carrier {
            Carrier::Relay(relays) => relays.actual().has_failures(),
            Carrier::Portproxy(portproxy) => portproxy.is_due(now),
        };
        let has_leftovers = self.leftovers.as_ref().is_some_and(|left| left.is_due(now));
        carrier || has_leftovers || self.firewall.is_due(now)
    }

    /// Whether nothing has to be looked at before something changes. Others may change portproxy's entries at any time. What an
    /// earlier run has left is tried again with the regular looks: what it takes may never come.
    pub fn is_settled(&self) -> bool {
        let carrier = match &self.carrier {
            Carrier::Relay(relays) => relays.is_settled(),
            Carrier::Portproxy(portproxy) => portproxy.is_idle(),
        };
        carrier && self.firewall.is_settled()
    }

    /// Executes actions in their order. `vms` names the run of the VM in which each distro is.
    pub async fn apply(&mut self, actions: Vec<Action>, vms: BTreeMap<String, String>) {
        match &mut self.carrier {
            Carrier::Relay(relays) => relays.apply(actions).await,
            Carrier::Portproxy(portproxy) => portproxy.apply(actions, vms).await,
        }
        self.remove_leftovers().await;
    }

    async fn remove_leftovers(&mut self) {
        let Some(left) = self.leftovers.as_mut().filter(|left| left.is_due(host::awake())) else {
            return;
        };
        left.apply(Vec::new(), BTreeMap::new()).await;
        if left.is_idle() {
            tracing::info!("what an earlier run with portproxy had left is removed now");
            self.leftovers = None;
        }
    }

    /// See [`Relays::sweep`]. Connections through portproxy are beyond our reach.
    pub fn sweep(&mut self, living: &BTreeSet<&str>, revoked: &BTreeSet<(&str, ForwardId)>) {
        match &mut self.carrier {
            Carrier::Relay(relays) => relays.sweep(living, revoked),
            Carrier::Portproxy(_) => {}
        }
    }

    /// See [`Relays::cut_draining`].
    pub fn cut_draining(&mut self, distro: &str) {
        match &mut self.carrier {
            Carrier::Relay(relays) => relays.cut_draining(distro),
            Carrier::Portproxy(_) => {}
        }
    }

    /// See [`Relays::cut_all_draining`].
    pub fn cut_all_draining(&mut self) {
        match &mut self.carrier {
            Carrier::Relay(relays) => relays.cut_all_draining(),
            Carrier::Portproxy(_) => {}
        }
    }

    /// Closes everything.
    pub async fn close_all(&mut self) {
        self.firewall.close_all().await;
        match &mut self.carrier {
            Carrier::Relay(relays) => relays.close_all().await,
            Carrier::Portproxy(portproxy) => {
                let left = portproxy.close_all().left;
                portproxy.close_rules().await;
                if let Some(reason) = left {
                    tracing::warn!(
                        reason,
                        "portproxy entries are left; the next start, or `purge`, sees to them"
                    );
                }
            }
        }
    }
}

// It works on the files that stand for the registry and for Windows Firewall.
#[cfg(all(test, target_os = "linux"))]
mod tests;
