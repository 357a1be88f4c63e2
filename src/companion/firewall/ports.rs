//! Rules for single ports with portproxy, kept at run time: there it is the service IP Helper that accepts the connections, and not this
//! program. They need an administrator's rights. (Ports that WSL shares with Windows have rules of their own: `apply/firewall`.)
//!
//! **One rule for each port.** A rule could name many, but nobody says how many, and a change would take the rule away for a moment,
//! and with it everybody's port. So each port comes and goes by itself.
//!
//! **Order.** Rules are made before what they are for ([`PortRules::open`]) and removed after it ([`PortRules::close`]): what is
//! said to be open can be reached.
//!
//! **After a crash** the rules are still there. Windows knows them by their group and their names; a mark in the state directory,
//! made before the first of them, tells the next start that it has to look at all ([`clear_leftovers`]).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use wslnet_protocol::Protocol;

use super::program::clear;
use super::{Changes, Mark, Properties, Rule, Scope, Store, StoreError, changes};
use crate::host::{Awake, Categories};
use crate::purge::Cleared;

/// With what the names of these rules begin.
const PREFIX: &str = "wslnet port ";
/// The file that says that there may be some.
const MARK: &str = "firewall-ports";
/// How long after a failure the same is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Who accepts the connections of the ports.
const IP_HELPER: &str = "iphlpsvc";

/// Ports of Windows.
pub type Ports = BTreeSet<(Protocol, u16)>;

/// The rules for a changing set of ports.
#[derive(Debug)]
pub struct PortRules {
    store: Store,
    mark: Mark,
    networks: Categories,
    /// Those that are there; `None` while that is not known.
    there: Option<Vec<Properties>>,
    /// An earlier run has left some, and the start could not remove them.
    has_leftovers: bool,
    /// What was tried last in vain, and when.
    failed: Option<(Ports, Awake)>,
    trouble: Option<StoreError>,
}

impl PortRules {
    /// None yet. `state_dir` has the mark, and on Linux the file that stands for the firewall.
    pub fn new(state_dir: &Path) -> Self {
        let mark = Mark::new(state_dir, MARK);
        Self {
            store: Store::new(state_dir),
            has_leftovers: mark.is_set(),
            mark,
            networks: Categories::TRUSTED,
            there: None,
            failed: None,
            trouble: None,
        }
    }

    /// In networks of which categories clients are let in from now on; what stands follows at the next [`Self::open`].
    pub fn set_networks(&mut self, networks: Categories) {
        self.networks = networks;
    }

    /// Makes the rules that are missing and replaces those that differ. Costs nothing while all is as it should be. After a
    /// failure the same is not tried again for a while.
    pub async fn open(&mut self, wanted: &Ports, now: Awake) {
        let is_hopeless = self
            .failed
            .as_ref()
            .is_some_and(|(ports, time)| ports == wanted && now.saturating_since(*time) < RETRY);
        let is_idle =
            wanted.is_empty() && self.there.is_none() && self.failed.is_none() && !self.has_leftovers;
        if is_hopeless || is_idle {
            return;
        }
        let Some(there) = self.known(wanted, now).await else {
            return;
        };
        let rules: Vec<Rule> = wanted.iter().map(|port| self.rule(*port)).collect();
        let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        let mut todo = changes(&rules, &there);
        todo.remove.retain(|name| names.contains(name.as_str()));
        self.make(todo, wanted, now).await;
    }

    /// Removes the rules that nobody wants any more.
    pub async fn close(&mut self, wanted: &Ports, now: Awake) {
        let Some(there) = &self.there else {
            return;
        };
        let names: BTreeSet<String> = wanted.iter().map(|port| name(*port)).collect();
        let old = there
            .iter()
            .map(|rule| rule.name.clone())
            .filter(|name| !names.contains(name));
        let todo = Changes {
            remove: old.collect(),
            add: Vec::new(),
        };
        self.make(todo, wanted, now).await;
    }

    /// What keeps the rules from being right.
    pub fn trouble(&self) -> Option<&StoreError> {
        self.trouble.as_ref()
    }

    /// Compares with what somebody else has seen of our group: if a rule has gone or changed, all are looked at with the next
    /// [`Self::open`].
    pub fn compare(&mut self, ours: &[Properties]) {
        let differs = |there: &Vec<Properties>| !there.iter().all(|rule| ours.contains(rule));
        if self.there.as_ref().is_some_and(differs) {
            self.there = None;
        }
    }

    async fn known(&mut self, wanted: &Ports, now: Awake) -> Option<Vec<Properties>> {
        if self.there.is_none() {
            match self.ask(|store| store.ours()).await {
                Ok(mut there) => {
                    there.retain(|rule| is_port_rule(&rule.name));
                    self.there = Some(there);
                }
                Err(error) => self.fail(error, wanted, now),
            }
        }
        self.there.clone()
    }

    async fn make(&mut self, todo: Changes, wanted: &Ports, now: Awake) {
        if todo.is_empty() {
            if self.there.is_some() {
                self.succeed();
            }
            return;
        }
        let Changes { remove, add } = todo;
        let marked = if add.is_empty() { Ok(()) } else { self.mark.set() };
        if let Err(error) = marked {
            self.fail(StoreError::Other(error.to_string()), wanted, now);
            return;
        }
        let (gone, new) = (remove.clone(), add.clone());
        let done = self
            .ask(move |store| {
                store.remove(&remove.into_iter().collect::<Vec<_>>())?;
                store.add(&add)
            })
            .await;
        if let Err(error) = done {
            self.there = None;
            self.fail(error, wanted, now);
            return;
        }
        tracing::info!(made = new.len(), removed = gone.len(), "firewall rules for ports");
        if let Some(there) = &mut self.there {
            there.retain(|rule| !gone.contains(&rule.name));
            there.extend(new.iter().map(Rule::properties));
            if there.is_empty() {
                self.has_leftovers = false;
                self.mark.clear();
            }
        }
        self.succeed();
    }

    fn succeed(&mut self) {
        (self.failed, self.trouble) = (None, None);
        if self.there.as_ref().is_some_and(Vec::is_empty) && std::mem::take(&mut self.has_leftovers) {
            self.mark.clear();
        }
    }

    /// Whether rules of an earlier run may be there, that nobody wants.
    pub fn has_leftovers(&self) -> bool {
        self.has_leftovers
    }

    fn fail(&mut self, error: StoreError, wanted: &Ports, now: Awake) {
        if self.trouble.as_ref() != Some(&error) {
            tracing::warn!(%error, "the firewall rules for ports are not as they should be");
        }
        self.trouble = Some(error);
        self.failed = Some((wanted.clone(), now));
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        let asked = tokio::task::spawn_blocking(move || question(&store)).await;
        asked.unwrap_or_else(|error| Err(StoreError::Other(error.to_string())))
    }

    fn rule(&self, port: (Protocol, u16)) -> Rule {
        Rule {
            name: name(port),
            description: "Lets the local network reach a port of WSL; wslnet-companion removes it by itself"
                .to_owned(),
            program: None,
            service: Some(IP_HELPER.to_owned()),
            protocol: port.0,
            local_ports: [port.1].into(),
            local_addresses: BTreeSet::new(),
            remote_addresses: [Scope::LocalSubnet].into(),
            profiles: self.networks,
        }
    }
}

fn name((protocol, port): (Protocol, u16)) -> String {
    format!("{PREFIX}{protocol} {port}")
}

/// Whether a rule of this name is one for a port, kept at run time.
pub(super) fn is_port_rule(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Removes the port rules that an earlier run left behind. Costs nothing where there were none: Windows is not asked then.
pub fn clear_leftovers(state_dir: &Path) -> Cleared {
    if Mark::new(state_dir, MARK).is_set() {
        clear_ports(state_dir)
    } else {
        Cleared::default()
    }
}

/// Removes all port rules, whatever the state directory knows of them.
pub fn clear_ports(state_dir: &Path) -> Cleared {
    let cleared = clear(&Store::new(state_dir), is_port_rule);
    if cleared.left.is_none() {
        Mark::new(state_dir, MARK).clear();
    }
    cleared
}

// They work on the file that stands for Windows Firewall.
#[cfg(all(test, target_os = "linux"))]
mod tests;
