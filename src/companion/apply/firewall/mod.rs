//! The backend of the modes in which Windows has the VM's ports as its own (mirrored, virtioproxy): no socket, no dialing, only
//! rules that let the local network in. Level-triggered: each round looks at what is there and brings it to what is wanted.
//!
//! **Which rules.** Each port has a rule of Windows Firewall by port, protocol and address: in virtioproxy mode a program of Windows
//! listens in the VM's stead, and in mirrored mode Windows makes a rule of the Hyper-V firewall from one that names nothing else.
//! A policy can forbid it to (`AllowHostPolicyMerge`), so in mirrored mode each port has its own rule there as well.
//!
//! **Whose port.** A rule by port is for whoever has the port. Windows gives a port of the VM to no program of its own, and a program
//! that has it all the same is no part of WSL: then the rule would open what nobody of the VM asked for, and there is none.
//!
//! **What stays behind.** Windows keeps rules when this program dies. They are known by their names; the next start removes them,
//! to which a mark in the state directory tells that there may be some, and so does `wslnet-companion purge`.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use tokio::task::spawn_blocking;
use wslnet_protocol::Mode;

use self::rules::{hyperv_rule, is_ours, rule};
use crate::config::Clients;
use crate::firewall::{HyperV, HyperVRule, Mark, Properties, Rule, Store, StoreError, changes};
use crate::host::{self, Awake, Categories, Sockets};
use crate::ledger::Key;
use crate::plan::{Failure, Opening, Opinions, Stuck};
use crate::purge::Cleared;

/// How long after a round that left something to be desired the next one is due.
const RETRY: Duration = Duration::from_secs(1);
/// How long after any round the next one is due: others can change rules, and programs of Windows come and go.
const LOOK: Duration = Duration::from_secs(5);

/// The file that says that there may be rules.
const MARK: &str = "firewall-shared-ports";

/// All forwards that are rules of the firewall.
#[derive(Debug)]
pub struct Firewall {
    doors: Doors,
    wanted: BTreeMap<Key, Opening>,
    admitted: Admitted,
    mark: Mark,
    opinions: Opinions,
    looked: Option<Awake>,
    /// Nothing of ours is there.
    is_clear: bool,
    /// Why something that is ours and unwanted is still there.
    left: Option<StoreError>,
}

/// Who is let in, as companion.toml says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// From where.
    pub clients: Clients,
    /// In networks of which categories.
    pub networks: Categories,
}

/// The two ways to the system.
#[derive(Clone, Debug)]
struct Doors {
    rules: Store,
    hyperv: HyperV,
}

/// What came of a round.
#[derive(Debug, Default)]
struct Done {
    opinions: Opinions,
    removed: Vec<String>,
    /// Why something that is ours and unwanted is still there.
    left: Option<StoreError>,
}

impl Firewall {
    /// No openings yet. What an earlier run left behind is for [`clear_leftovers`]; where that could not do it, as the firewall did not
    /// answer at the start of Windows, it is done as soon as that does.
    pub fn new(state_dir: &Path) -> Self {
        let mark = Mark::new(state_dir, MARK);
        Self {
            doors: Doors::new(state_dir),
            wanted: BTreeMap::new(),
            admitted: Admitted::default(),
            opinions: Opinions::new(),
            looked: None,
            is_clear: !mark.is_set(),
            mark,
            left: None,
        }
    }

    /// What came of the openings.
    pub fn opinions(&self) -> &Opinions {
        &self.opinions
    }

    /// What is in the way, in a sentence for people; empty while nothing is wanted and nothing is left.
    pub fn capability(&self) -> String {
        if let Some(error) = &self.left {
            return format!(
                "rules that let the local network in at ports that nobody shares any more are left: {error}"
            );
        }
        let reasons: BTreeSet<&str> = self
            .opinions
            .values()
            .filter_map(|opinion| Some(opinion.as_ref().err()?.reason.as_str()))
            .collect();
        match (self.wanted.len(), reasons.len()) {
            (0, _) => String::new(),
            (count, 0) => format!("{count} ports open to the local network by rules of ours"),
            (_, _) => reasons.into_iter().collect::<Vec<_>>().join("; "),
        }
    }

    /// Whether the rules have to be looked at though nothing else is wanted than before.
    pub fn is_due(&self, now: Awake) -> bool {
        let pause = if self.is_settled() { LOOK } else { RETRY };
        let is_idle = self.wanted.is_empty() && self.is_clear;
        !is_idle
            && self
                .looked
                .is_none_or(|looked| now.saturating_since(looked) >= pause)
    }

    /// Whether a look now and then is enough: everything is in place, or in a way that trying again does not mend.
    pub fn is_settled(&self) -> bool {
        let is_unfinished = |failure: &Failure| failure.stuck.is_none();
        let mut failures = self
            .opinions
            .values()
            .filter_map(|opinion| opinion.as_ref().err());
        // What is not this program's to remove does not get better by trying.
        let may_be_removed = match &self.left {
            Some(error) => *error != StoreError::Denied,
            None => self.wanted.is_empty() && !self.is_clear,
        };
        !failures.any(is_unfinished) && !may_be_removed
    }

    /// Has these ports open, and no others of ours. Does nothing where nothing has changed and no look is due.
    pub async fn keep(&mut self, wanted: &BTreeMap<Key, Opening>, admitted: Admitted) {
        let now = host::awake();
        if *wanted == self.wanted && admitted == self.admitted && !self.is_due(now) {
            return;
        }
        self.wanted.clone_from(wanted);
        self.admitted = admitted;
        let marked = if wanted.is_empty() {
            Ok(())
        } else {
            self.mark.set()
        };
        if let Err(error) = marked {
            tracing::warn!(%error, "should this program be killed, only `purge` will find the firewall rules that it makes");
        }
        let (doors, wanted) = (self.doors.clone(), wanted.clone());
        let done = spawn_blocking(move || doors.round(&wanted, admitted, Sockets::default())).await;
        // Nobody knows then what is in force: it is told, and looked at again.
        let done = done.unwrap_or_else(|error| Done {
            left: Some(StoreError::Other(error.to_string())),
            ..Done::default()
        });
        self.looked = Some(now);
        self.is_clear = self.wanted.is_empty() && done.left.is_none();
        if let Some(error) = &done.left
            && self.left != done.left
        {
            tracing::warn!(%error, "the local network is still let in at ports that nobody shares any more; it is tried again");
        }
        self.left = done.left;
        if self.is_clear {
            self.mark.clear();
        }
        for (key, opinion) in &done.opinions {
            let told = self.opinions.get(key);
            if told != Some(opinion) {
                match opinion {
                    Ok(()) => tracing::info!(%key, "the local network is let in"),
                    Err(failure) => tracing::warn!(%key, failure.reason, "the local network is not let in"),
                }
            }
        }
        self.opinions = done.opinions;
    }

    /// Removes every rule of ours.
    pub async fn close_all(&mut self) {
        if !self.is_clear {
            self.keep(&BTreeMap::new(), self.admitted).await;
        }
        if !self.is_clear {
            tracing::warn!("rules of the firewall are left; the next start, or `purge`, removes them");
        }
    }
}

/// Removes what an earlier run has left. Costs nothing where there was nothing: Windows is not asked then.
pub(crate) fn clear_leftovers(state_dir: &Path) -> Cleared {
    if Mark::new(state_dir, MARK).is_set() {
        clear(state_dir)
    } else {
        Cleared::default()
    }
}

/// Removes every rule of ours, whatever the state directory knows of them.
pub(crate) fn clear(state_dir: &Path) -> Cleared {
    let done = Doors::new(state_dir).round(&BTreeMap::new(), Admitted::default(), Sockets::default());
    if done.left.is_none() {
        Mark::new(state_dir, MARK).clear();
    }
    Cleared {
        removed: done.removed,
        foreign: Vec::new(),
        left: done.left.map(|error| error.to_string()),
    }
}

impl Doors {
    fn new(state_dir: &Path) -> Self {
        Self {
            rules: Store::new(state_dir),
            hyperv: HyperV::new(state_dir),
        }
    }

    /// One round, in which the machine is looked at once for all ports.
    fn round(&self, wanted: &BTreeMap<Key, Opening>, admitted: Admitted, mut sockets: Sockets) -> Done {
        let mut done = Done::default();
        let mut granted = BTreeMap::new();
        for (key, opening) in wanted {
            match somebody_else(*key, opening, &mut sockets, Some(std::process::id())) {
                None => drop(granted.insert(*key, opening)),
                Some(failure) => drop(done.opinions.insert(*key, Err(failure))),
            }
        }
        // Without an address of Windows a rule would be for all of them.
        granted.retain(|_, opening| !opening.listen.is_empty());
        let is_mirrored = |opening: &Opening| opening.mode == Mode::Mirrored;
        let hyperv = granted.iter().filter(|(_, opening)| is_mirrored(opening));
        let hyperv = hyperv
            .map(|(key, opening)| hyperv_rule(*key, opening, admitted))
            .collect();
        let asked_hyperv = self.keep_hyperv(&hyperv, &mut done);
        // Where the narrower door is not to be had, the wider one is not opened in vain.
        let rules: Vec<Rule> = granted
            .iter()
            .filter(|(_, opening)| asked_hyperv.is_ok() || !is_mirrored(opening))
            .map(|(key, opening)| rule(*key, opening, admitted))
            .collect();
        let asked = self.keep_rules(&rules, &mut done);
        for (key, opening) in granted {
            let asked = if is_mirrored(opening) {
                asked_hyperv.clone().and(asked.clone())
            } else {
                asked.clone()
            };
            done.opinions.insert(key, asked.map_err(failure));
        }
        done.left = asked_hyperv.and(asked).err();
        done
    }

    fn keep_rules(&self, wanted: &[Rule], done: &mut Done) -> Result<(), StoreError> {
        let mut there = self.rules.ours()?;
        there.retain(|properties: &Properties| is_ours(&properties.name));
        let changes = changes(wanted, &there);
        if !changes.remove.is_empty() {
            let names: Vec<String> = changes.remove.into_iter().collect();
            self.rules.remove(&names)?;
            let unwanted = names
                .into_iter()
                .filter(|name| !wanted.iter().any(|rule| rule.name == *name));
            done.removed
                .extend(unwanted.map(|name| format!("the firewall rule `{name}`")));
        }
        if !changes.add.is_empty() {
            self.rules.add(&changes.add)?;
        }
        Ok(())
    }

    /// A Windows without a Hyper-V firewall has nothing there to be opened.
    fn keep_hyperv(&self, wanted: &BTreeSet<HyperVRule>, done: &mut Done) -> Result<(), StoreError> {
        let Some(there) = self.hyperv.ours()? else {
            return Ok(());
        };
        let wanted: BTreeMap<String, &HyperVRule> = wanted.iter().map(|rule| (rule.name(), rule)).collect();
        let (right, wrong): (Vec<_>, Vec<_>) = there
            .into_iter()
            .partition(|found| found.is_in_force && wanted.contains_key(&found.name));
        let right: BTreeSet<String> = right.into_iter().map(|found| found.name).collect();
        let wrong: Vec<String> = wrong.into_iter().map(|found| found.name).collect();
        if !wrong.is_empty() {
            self.hyperv.remove(&wrong)?;
            let unwanted = wrong.iter().filter(|name| !wanted.contains_key(*name));
            done.removed
                .extend(unwanted.map(|name| format!("the Hyper-V firewall rule `{name}`")));
        }
        let missing = wanted.into_iter().filter(|(name, _)| !right.contains(name));
        let missing: Vec<HyperVRule> = missing.map(|(_, rule)| rule.clone()).collect();
        if !missing.is_empty() {
            self.hyperv.add(&missing)?;
        }
        Ok(())
    }
}

/// The program of Windows that has the port, if one has that is neither a part of WSL nor `except`.
fn somebody_else(key: Key, opening: &Opening, sockets: &mut Sockets, except: Option<u32>) -> Option<Failure> {
    let holder = opening
        .listen
        .iter()
        .filter_map(|address| sockets.owner_of(key.protocol, *address, except))
        .find(|holder| !host::is_of_wsl(holder))?;
    let who = host::describe(&holder, &[]);
    Some(Failure {
        reason: format!(
            "{who} has {key} of Windows, and a rule would open that: stop it, or let the service in the distro listen on another port"
        ),
        conflict: Some(format!("taken by {who}")),
        stuck: None,
    })
}

fn failure(error: StoreError) -> Failure {
    let stuck = match error {
        StoreError::Denied => Some(Stuck::Denied),
        StoreError::NoAnswer
        | StoreError::Stopped
        | StoreError::Foreign(_)
        | StoreError::NotKept(_)
        | StoreError::Other(_) => None,
    };
    Failure {
        reason: error.to_string(),
        conflict: None,
        stuck,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
