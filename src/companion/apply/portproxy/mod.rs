//! The portproxy backend: entries of Windows' own portproxy, on which the service IP Helper acts. It takes the same actions
//! as the relay backend; what they come down to is a set of entries, and each round brings the registry to that set:
//! read what is there, decide ([`round`]), remove, write down what will be ours ([`journal`]), add, and tell IP Helper
//! once. So it does not matter in which state the registry is found, after a crash or after others were at it.
//!
//! What a relay does for each connection cannot be done here: see SECURITY.md. Windows keeps the entries when this program
//! dies; the next start removes them, and so does `wslnet-companion purge`.

mod entry;
mod execute;
#[cfg(fuzzing)]
pub mod fuzzing;
mod helper;
mod journal;
mod reasons;
mod round;
mod system;
// They work on the file that stands for the registry.
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::journal::{Mine, Ours};
use self::system::{Machine, Service, Stamp};
use crate::firewall::{Mark, PortRules, Ports};
use crate::host::portproxy::Found;
use crate::host::{self, Awake, PortHolder};
use crate::plan::{Action, Actual, Applied, Failure};
use crate::purge::Cleared;

/// The file that says that IP Helper is still to be told of a change.
const MARK: &str = "portproxy-untold";
/// How long after a look that left something to be desired the next one is due.
const RETRY: Duration = Duration::from_secs(1);
/// How long after any look the next one is due: IP Helper can stop without a change in the registry.
const LOOK: Duration = Duration::from_secs(5);

/// All forwards that are entries of Windows' portproxy.
#[derive(Debug)]
pub struct Portproxy {
    machine: Machine,
    /// The firewall's rules for the ports, since IP Helper accepts the connections and not this program.
    rules: PortRules,
    state_dir: PathBuf,
    /// The journal, as it is on the disk; `None` until it could be read.
    ours: Option<Ours>,
    actual: Actual,
    /// The present run of each distro's VM.
    vms: BTreeMap<String, String>,
    /// Those of ours that were seen in the registry.
    seen: BTreeSet<SocketAddr>,
    quarrels: BTreeMap<SocketAddr, Quarrel>,
    deaf: BTreeMap<SocketAddr, Deaf>,
    /// The programs in the way that were found out.
    held: BTreeMap<SocketAddr, Failure>,
    /// IP Helper could not be told of the last change, or did not listen. Until it is told, it goes on with what it has read, also with
    /// entries that are gone.
    owes_reload: bool,
    /// Says the same to the next run.
    untold: Mark,
    /// Its state as it was last known.
    service: Option<Service>,
    stamp: Option<Stamp>,
    looked: Option<Awake>,
    /// What stands in the way of everything, as it was last logged.
    told: String,
}

/// Somebody removes an entry.
#[derive(Clone, Copy, Debug)]
struct Quarrel {
    removals: u32,
    last: Awake,
}

/// IP Helper does not listen for an entry.
#[derive(Clone, Copy, Debug)]
struct Deaf {
    told: Awake,
    wait: Duration,
}

/// What is known of the machine in one round.
struct Seen {
    found: Vec<Found>,
    listeners: Vec<PortHolder>,
    /// Or why it is not known. What is to go goes all the same.
    service: Result<Service, String>,
}

/// What became of the entries in one round.
#[derive(Debug, Default)]
struct Done {
    standing: BTreeSet<SocketAddr>,
    failed: BTreeMap<SocketAddr, Failure>,
    cleared: Cleared,
    added: bool,
}

impl Portproxy {
    /// No forwards yet. The journal of an earlier run is in this directory.
    pub fn new(state_dir: &Path) -> Self {
        let untold = Mark::new(state_dir, MARK);
        Self {
            machine: Machine::new(state_dir),
            rules: PortRules::new(state_dir),
            state_dir: state_dir.to_owned(),
            ours: None,
            actual: Actual::default(),
            vms: BTreeMap::new(),
            seen: BTreeSet::new(),
            quarrels: BTreeMap::new(),
            deaf: BTreeMap::new(),
            held: BTreeMap::new(),
            owes_reload: untold.is_set(),
            untold,
            service: None,
            stamp: None,
            looked: None,
            told: String::new(),
        }
    }

    /// What an earlier run with this backend has left that the start could not remove; `None` if there is nothing, or if what is
    /// ours is not known.
    pub fn leftovers(state_dir: &Path) -> Option<Self> {
        let has_entries = journal::load(state_dir).is_ok_and(|ours| !ours.is_empty());
        let portproxy = Self::new(state_dir);
        (has_entries || portproxy.owes_reload || portproxy.rules.has_leftovers()).then_some(portproxy)
    }

    /// What is in place now, and what could not be put there.
    pub fn actual(&self) -> &Actual {
        &self.actual
    }

    /// Whether the registry has to be looked at though no forward has changed: it was written to, something is not as it
    /// should be, or the last look is long ago. While nothing is wanted and nothing is ours, never.
    pub fn is_due(&self, now: Awake) -> bool {
        let since = |time: Awake| now.saturating_since(time);
        !self.is_idle()
            && self.looked.is_none_or(|looked| {
                since(looked) >= LOOK
                    || (self.is_incomplete() && since(looked) >= RETRY)
                    || self.stamp != Some(self.machine.stamp())
            })
    }

    /// Whether there is nothing of ours, and nothing to set right.
    pub fn is_idle(&self) -> bool {
        self.actual.relays.is_empty()
            && self.ours.as_ref().is_some_and(Ours::is_empty)
            && !self.owes_reload
            && self.rules.trouble().is_none()
            && !self.rules.has_leftovers()
    }

    fn is_incomplete(&self) -> bool {
        let mut failures = self
            .actual
            .relays
            .values()
            .flat_map(|applied| applied.failed.values());
        failures.any(|failure| failure.stuck.is_none()) || self.owes_reload || self.ours.is_none()
    }

    /// Takes the actions, then brings the registry in line. `vms` names the run of the VM in which each distro is: the journal
    /// says so of each entry.
    pub async fn apply(&mut self, actions: Vec<Action>, vms: BTreeMap<String, String>) {
        self.vms = vms;
        for action in actions {
            self.take(action);
        }
        let now = host::awake();
        if self.round(now).added {
            self.wait_for_helper().await;
        }
        // Not before it is known that a port is not somebody else's: a rule is for a port and not for an entry.
        let ports = self.ports();
        self.rules.open(&ports, now).await;
        self.rules.close(&ports, now).await;
    }

    /// Removes every entry of ours, and tells IP Helper.
    pub fn close_all(&mut self) -> Cleared {
        self.actual.relays.clear();
        let mut cleared = self.round(host::awake()).cleared;
        if self.owes_reload && cleared.left.is_none() {
            cleared.left = Some(reasons::untold());
        }
        cleared
    }

    /// Removes the firewall's rules, once the entries are gone.
    pub async fn close_rules(&mut self) {
        self.rules.close(&Ports::new(), host::awake()).await;
    }

    /// The firewall's rules for the ports.
    pub fn rules(&self) -> &PortRules {
        &self.rules
    }

    /// The firewall's rules for the ports, to be told of changes.
    pub fn rules_mut(&mut self) -> &mut PortRules {
        &mut self.rules
    }

    /// The ports for which there are entries or should be, but for those of which others have every address.
    fn ports(&self) -> Ports {
        let is_wanted = |applied: &Applied| {
            let mut failures = applied.failed.values();
            !applied.listening.is_empty() || failures.any(|failure| failure.conflict.is_none())
        };
        let wanted = self
            .actual
            .relays
            .iter()
            .filter(|(_, applied)| is_wanted(applied));
        wanted.map(|(key, _)| (key.protocol, key.port)).collect()
    }

    /// Whether the backend could do its work now, in a sentence for people.
    pub fn capability(&self) -> String {
        let entries = self.ours.as_ref().map_or(0, Ours::len);
        match self.machine.service() {
            Ok(Service::Running(_)) => match self.machine.may_write() {
                Ok(()) => {
                    format!("IP Helper runs, and the entries may be written; {entries} of them are ours")
                }
                Err(error) => reasons::unwritable(&error),
            },
            Ok(service) => reasons::no_service(service),
            Err(error) => reasons::unreadable(&error),
        }
    }

    /// Follows an action. Addresses that are new wait among the failed ones until the round is over.
    fn take(&mut self, action: Action) {
        let relays = &mut self.actual.relays;
        match action {
            Action::Close { key, .. } => drop(relays.remove(&key)),
            Action::Open {
                key,
                distro,
                id,
                target,
            } => {
                let applied = Applied {
                    distro,
                    id,
                    target,
                    listening: BTreeSet::new(),
                    failed: BTreeMap::new(),
                };
                relays.insert(key, applied);
            }
            Action::Adopt { key, id } => {
                if let Some(applied) = relays.get_mut(&key) {
                    applied.id = id;
                }
            }
            Action::Retarget { key, target } => {
                if let Some(applied) = relays.get_mut(&key) {
                    applied.target = target;
                }
            }
            Action::Unlisten { key, address } => {
                if let Some(applied) = relays.get_mut(&key) {
                    applied.listening.remove(&address);
                    applied.failed.remove(&address);
                }
            }
            Action::Listen { key, address } => {
                if let Some(applied) = relays.get_mut(&key) {
                    applied.failed.entry(address).or_insert_with(reasons::not_yet);
                }
            }
            // The plan asks for none with this backend: entries are for networks only.
            Action::FillGap { .. } => {}
        }
    }

    /// What should be there.
    fn wanted(&self) -> Ours {
        let mut wanted = Ours::new();
        for applied in self.actual.relays.values() {
            let mine = Mine {
                connect: applied.target,
                distro: applied.distro.clone(),
                vm: self.vms.get(&applied.distro).cloned().unwrap_or_default(),
            };
            let listens = applied.listening.iter().chain(applied.failed.keys());
            wanted.extend(listens.map(|listen| (*listen, mine.clone())));
        }
        wanted
    }

    /// One round: everything as the text of this module says, but the waiting.
    fn round(&mut self, now: Awake) -> Done {
        self.looked = Some(now);
        // Before the entries are read, so that no change after that is missed.
        self.stamp = Some(self.machine.stamp());
        let wanted = self.wanted();
        let done = match self.look() {
            Ok((seen, ours)) => self.bring_about(&wanted, &seen, ours, now),
            Err(failure) => {
                self.tell_once(&failure.reason);
                Done {
                    failed: wanted.keys().map(|listen| (*listen, failure.clone())).collect(),
                    cleared: Cleared {
                        left: Some(failure.reason),
                        ..Cleared::default()
                    },
                    ..Done::default()
                }
            }
        };
        for applied in self.actual.relays.values_mut() {
            let listens: Vec<_> = applied
                .listening
                .iter()
                .chain(applied.failed.keys())
                .copied()
                .collect();
            for listen in listens {
                applied.listening.remove(&listen);
                applied.failed.remove(&listen);
                if done.standing.contains(&listen) {
                    applied.listening.insert(listen);
                } else {
                    let failure = done.failed.get(&listen).cloned();
                    applied
                        .failed
                        .insert(listen, failure.unwrap_or_else(reasons::not_yet));
                }
            }
        }
        done
    }

    /// Reads the journal, the registry, the listeners and the service's state.
    fn look(&mut self) -> Result<(Seen, Ours), Failure> {
        let ours = match &self.ours {
            Some(ours) => ours.clone(),
            None => {
                let ours = journal::load(&self.state_dir).map_err(|error| reasons::journal(&error))?;
                self.ours = Some(ours.clone());
                ours
            }
        };
        let unreadable = |error: io::Error| reasons::pending(reasons::unreadable(&error));
        let seen = Seen {
            found: self.machine.entries().map_err(unreadable)?,
            listeners: host::listeners().map_err(unreadable)?,
            service: self.service(),
        };
        Ok((seen, ours))
    }

    /// IP Helper's state: while Windows is too busy to say so, the one that was known last.
    fn service(&mut self) -> Result<Service, String> {
        let asked = self.machine.service();
        if let Ok(service) = asked {
            self.service = Some(service);
        }
        match asked {
            Ok(service) => Ok(service),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.service.ok_or_else(|| reasons::unreadable(&error))
            }
            Err(error) => Err(reasons::unreadable(&error)),
        }
    }

    /// Logs what stands in the way of everything, once.
    fn tell_once(&mut self, reason: &str) {
        if self.told != reason {
            tracing::warn!(reason, "portproxy");
            reason.clone_into(&mut self.told);
        }
    }
}

/// Whether this program has the rights that this backend takes; if not, why.
///
/// # Errors
/// The right that is missing.
pub(crate) fn may_be_used(state_dir: &Path) -> Result<(), String> {
    let rights = Machine::new(state_dir).may_write();
    rights.map_err(|error| {
        if error.kind() == io::ErrorKind::PermissionDenied {
            "takes an administrator or the system".to_owned()
        } else {
            error.to_string()
        }
    })
}

/// Removes every entry that an earlier run left behind, and tells IP Helper what that could not. Costs nothing where there was none.
pub fn clear(state_dir: &Path) -> Cleared {
    let mut portproxy = Portproxy::new(state_dir);
    if !portproxy.owes_reload && journal::load(state_dir).is_ok_and(|ours| ours.is_empty()) {
        return Cleared::default();
    }
    portproxy.close_all()
}
