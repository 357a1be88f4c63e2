//! The portproxy backend: entries of Windows' own portproxy, on which the service IP Helper acts. It takes the same actions
//! as the relay backend; what they come down to is a set of entries, and each round brings the registry to that set:
//! read what is there, decide ([`round`]), remove, write down what will be ours ([`journal`]), add, and tell IP Helper
//! once. So it does not matter in which state the registry is found, after a crash or after others were at it.
//!
//! What a relay does for each connection cannot be done here: see SECURITY.md. Windows keeps the entries when this program
//! dies; the next start removes them, and so does `wslnet-companion purge`.

mod entry;
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

use wslnet_protocol::Protocol;

use self::entry::{Entry, Found, Table};
use self::journal::{Mine, Ours};
use self::round::{Blocked, Look, Round, decide};
use self::system::{Machine, Removed, Service, Stamp};
use crate::host::{self, Awake, PortHolder};
use crate::plan::{Action, Actual, Applied, Failure};
use crate::purge::Cleared;

/// How long after a look that left something to be desired the next one is due.
const RETRY: Duration = Duration::from_secs(1);
/// How long after any look the next one is due: IP Helper can stop without a change in the registry.
const LOOK: Duration = Duration::from_secs(5);
/// How long a round waits for IP Helper to listen, and how often it looks.
const PATIENCE: Duration = Duration::from_millis(200);
const GLANCE: Duration = Duration::from_millis(10);
/// How long IP Helper may take to listen before it is told again. The time doubles with each telling, up to the most.
const DEAF: Duration = Duration::from_secs(2);
const DEAFEST: Duration = Duration::from_secs(64);
/// How often an entry that somebody removes is put back before it counts as contended.
const PUT_BACK: u32 = 2;
/// An entry that has stood for so long is no longer the same quarrel.
const CALM: Duration = Duration::from_secs(60);
/// How many owners of ports are looked up in one round; each costs a walk through the process table.
const LOOKUPS: usize = 2;
/// How many changes of one round the log names.
const TOLD: usize = 30;

/// All forwards that are entries of Windows' portproxy.
#[derive(Debug)]
pub struct Portproxy {
    machine: Machine,
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
    owes_reload: bool,
    stamp: Option<Stamp>,
    looked: Option<Awake>,
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
    service: Service,
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
        Self {
            machine: Machine::new(state_dir),
            state_dir: state_dir.to_owned(),
            ours: None,
            actual: Actual::default(),
            vms: BTreeMap::new(),
            seen: BTreeSet::new(),
            quarrels: BTreeMap::new(),
            deaf: BTreeMap::new(),
            held: BTreeMap::new(),
            owes_reload: false,
            stamp: None,
            looked: None,
            told: String::new(),
        }
    }

    /// What is in place now, and what could not be put there.
    pub fn actual(&self) -> &Actual {
        &self.actual
    }

    /// Whether the registry has to be looked at though no forward has changed: it was written to, something is not as it
    /// should be, or the last look is long ago. While nothing is wanted and nothing is ours, never.
    pub fn is_due(&self, now: Awake) -> bool {
        let is_idle = self.actual.relays.is_empty() && self.ours.as_ref().is_some_and(Ours::is_empty);
        let since = |time: Awake| now.saturating_since(time);
        !is_idle
            && self.looked.is_none_or(|looked| {
                since(looked) >= LOOK
                    || (self.is_incomplete() && since(looked) >= RETRY)
                    || self.stamp != Some(self.machine.stamp())
            })
    }

    fn is_incomplete(&self) -> bool {
        let mut failures = self.actual.relays.values().flat_map(|applied| applied.failed.values());
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
    }

    /// Removes every entry of ours.
    pub fn close_all(&mut self) -> Cleared {
        self.actual.relays.clear();
        self.round(host::awake()).cleared
    }

    /// Whether the backend could do its work now, in a sentence for people.
    pub fn capability(&self) -> String {
        let entries = self.ours.as_ref().map_or(0, Ours::len);
        match self.machine.service() {
            Ok(Service::Running(_)) => match self.machine.may_write() {
                Ok(()) => format!("IP Helper runs, and the entries may be written; {entries} of them are ours"),
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
            service: self.machine.service().map_err(unreadable)?,
        };
        Ok((seen, ours))
    }

    fn bring_about(&mut self, wanted: &Ours, seen: &Seen, mut ours: Ours, now: Awake) -> Done {
        let helper = match seen.service {
            Service::Running(pid) => pid,
            Service::Stopped | Service::Disabled | Service::Missing => None,
        };
        let round = decide(
            wanted,
            Look {
                found: &seen.found,
                ours: &ours,
                listeners: &seen.listeners,
                helper,
            },
        );
        let mut done = Done::default();
        self.note_removals(&round, wanted, now);
        for (listen, found) in &round.changed {
            tracing::warn!(%listen, found = found.describe(), "an entry of ours was changed by somebody: it is not ours any more");
            done.cleared.foreign.push(found.describe());
            ours.remove(listen);
        }
        ours.retain(|listen, _| !round.missing.contains(listen));

        let mut told = Told::default();
        self.remove(&round, &mut ours, &mut done, &mut told);
        let add = self.admitted(wanted, seen, &round, &ours, &mut done);
        self.add(wanted, &add, ours, &mut done, &mut told);
        told.finish();
        self.explain(&round, &mut done);

        let changed = done.added || !done.cleared.removed.is_empty();
        self.tell_helper(seen.service, changed);
        for listen in &round.stand {
            // The journal knows the distro of now, whoever had the entry made.
            match reasons::without_service(seen.service) {
                Some(failure) => drop(done.failed.insert(*listen, failure)),
                None => drop(done.standing.insert(*listen)),
            }
        }
        self.hear(&mut done, &round, &seen.listeners, now);
        self.seen = round.stand.union(&done.standing).copied().collect();
        done
    }

    /// Counts how often somebody removed what is still wanted.
    fn note_removals(&mut self, round: &Round, wanted: &Ours, now: Awake) {
        self.quarrels.retain(|listen, _| wanted.contains_key(listen));
        for listen in round.missing.iter().filter(|listen| self.seen.contains(listen)) {
            if !wanted.contains_key(listen) {
                continue;
            }
            let quarrel = self.quarrels.entry(*listen).or_insert(Quarrel {
                removals: 0,
                last: now,
            });
            if now.saturating_since(quarrel.last) >= CALM {
                quarrel.removals = 0;
            }
            quarrel.removals += 1;
            quarrel.last = now;
            tracing::warn!(%listen, times = quarrel.removals, "somebody removed an entry of ours");
        }
    }

    /// Removes what is ours and not wanted. What cannot be removed stays in the journal.
    fn remove(&self, round: &Round, ours: &mut Ours, done: &mut Done, told: &mut Told) {
        let mut tables: BTreeSet<Table> = BTreeSet::new();
        let mut gone = Vec::new();
        for listen in &round.remove {
            let Some(entry) = ours.get(listen).map(|mine| mine.entry(*listen)) else {
                continue;
            };
            match self.machine.remove(&entry) {
                Ok(Removed::Gone) => {
                    tables.insert(entry.table);
                    gone.push((*listen, entry));
                }
                Ok(Removed::Absent | Removed::Foreign) => drop(ours.remove(listen)),
                Err(error) => done.cleared.left = Some(reasons::unwritable(&error)),
            }
        }
        // A loss of power must not bring back what the journal has forgotten.
        let flushed = tables.into_iter().try_for_each(|table| self.machine.flush(table));
        if let Err(error) = flushed {
            tracing::warn!(%error, "the registry could not be put on the disk");
        }
        for (listen, entry) in gone {
            told.tell(|| tracing::info!(address = %listen, "portproxy entry removed"));
            ours.remove(&listen);
            done.cleared.removed.push(describe(&entry));
        }
    }

    /// Which entries may be made now; says why the others may not.
    fn admitted(
        &self,
        wanted: &Ours,
        seen: &Seen,
        round: &Round,
        ours: &Ours,
        done: &mut Done,
    ) -> BTreeSet<SocketAddr> {
        let mut add = round.add.clone();
        let mut refuse = |add: &mut BTreeSet<SocketAddr>, listens: Vec<SocketAddr>, failure: Failure| {
            for listen in listens {
                add.remove(&listen);
                done.failed.insert(listen, failure.clone());
            }
        };
        for listen in &round.add {
            if let Err(error) = wanted
                .get(listen)
                .map_or(Ok(()), |mine| entry::check(*listen, mine.connect))
            {
                refuse(&mut add, vec![*listen], reasons::pending(error.to_string()));
            } else if self
                .quarrels
                .get(listen)
                .is_some_and(|quarrel| quarrel.removals > PUT_BACK)
            {
                refuse(&mut add, vec![*listen], reasons::contended(*listen, PUT_BACK + 1));
            } else if ours.contains_key(listen) {
                // The former entry could not be removed.
                refuse(&mut add, vec![*listen], reasons::not_yet());
            }
        }
        if add.is_empty() {
            return add;
        }
        let everything = || add.iter().copied().collect::<Vec<_>>();
        let stop = match reasons::without_service(seen.service) {
            Some(failure) => Some(failure),
            None => self
                .machine
                .may_write()
                .err()
                .map(|error| reasons::rights(&error)),
        };
        if let Some(failure) = stop {
            let all = everything();
            refuse(&mut add, all, failure);
        }
        let room = journal::ENTRIES.saturating_sub(ours.len());
        let beyond: Vec<_> = add.iter().skip(room).copied().collect();
        refuse(&mut add, beyond, reasons::too_many(journal::ENTRIES));
        add
    }

    /// Writes the journal, then makes the entries. `ours` is what is ours without them.
    fn add(
        &mut self,
        wanted: &Ours,
        add: &BTreeSet<SocketAddr>,
        mut ours: Ours,
        done: &mut Done,
        told: &mut Told,
    ) {
        for (listen, mine) in wanted {
            if add.contains(listen) || ours.get(listen).is_some_and(|known| known.connect == mine.connect) {
                ours.insert(*listen, mine.clone());
            }
        }
        if self.ours.as_ref() != Some(&ours) {
            if let Err(error) = journal::save(&self.state_dir, &ours) {
                let failure = reasons::journal(&error);
                self.tell_once(&failure.reason);
                done.failed
                    .extend(add.iter().map(|listen| (*listen, failure.clone())));
                return;
            }
            self.ours = Some(ours);
        }
        for (listen, mine) in wanted.iter().filter(|(listen, _)| add.contains(listen)) {
            match self.machine.add(&mine.entry(*listen)) {
                Ok(()) => {
                    told.tell(|| {
                        tracing::info!(address = %listen, target = %mine.connect, distro = mine.distro, "portproxy entry made");
                    });
                    done.added = true;
                    done.standing.insert(*listen);
                }
                // Somebody was faster; the next round says who.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    done.failed.insert(*listen, reasons::not_yet());
                }
                Err(error) => drop(done.failed.insert(*listen, reasons::rights(&error))),
            }
        }
    }

    /// Says who is in the way. A program that was found out counts for as long as somebody listens there, and a round finds
    /// out a few only: the next round, a moment later, finds the next ones.
    fn explain(&mut self, round: &Round, done: &mut Done) {
        self.held
            .retain(|listen, _| matches!(round.blocked.get(listen), Some(Blocked::Listener(_))));
        let mut lookups = LOOKUPS;
        for (listen, blocked) in &round.blocked {
            let failure = match (blocked, self.held.get(listen)) {
                (Blocked::Entry(found), _) => reasons::foreign(*listen, found),
                (Blocked::Listener(_), Some(known)) => known.clone(),
                (Blocked::Listener(_), None) if lookups == 0 => reasons::held(*listen, None),
                (Blocked::Listener(_), None) => {
                    lookups -= 1;
                    let owner = host::owner_of(Protocol::Tcp, *listen, None);
                    let failure = reasons::held(*listen, owner.as_ref());
                    self.held.insert(*listen, failure.clone());
                    failure
                }
            };
            done.failed.insert(*listen, failure);
        }
    }

    /// Tells IP Helper that its entries have changed: once, whatever their number.
    fn tell_helper(&mut self, service: Service, changed: bool) {
        match service {
            Service::Running(_) if changed || self.owes_reload => match self.machine.reload() {
                Ok(()) => self.owes_reload = false,
                Err(error) => {
                    self.owes_reload = true;
                    self.tell_once(&reasons::not_told(&error));
                }
            },
            Service::Running(_) => {}
            // It reads its entries when it starts.
            Service::Stopped | Service::Disabled | Service::Missing => self.owes_reload = false,
        }
    }

    /// Looks whether IP Helper listens for what stands, and remembers since when not.
    fn hear(&mut self, done: &mut Done, round: &Round, listeners: &[PortHolder], now: Awake) {
        self.deaf.retain(|listen, _| round.stand.contains(listen));
        for listen in round.stand.intersection(&done.standing.clone()) {
            if self.machine.is_served(*listen, listeners) {
                self.deaf.remove(listen);
                continue;
            }
            let deaf = self.deaf.entry(*listen).or_insert(Deaf {
                told: now,
                wait: DEAF,
            });
            let is_long = deaf.wait > DEAF || now.saturating_since(deaf.told) >= deaf.wait;
            if now.saturating_since(deaf.told) >= deaf.wait {
                self.owes_reload = true;
                *deaf = Deaf {
                    told: now,
                    wait: (deaf.wait * 2).min(DEAFEST),
                };
            }
            done.standing.remove(listen);
            let failure = if is_long {
                reasons::deaf(*listen, self.machine.is_ipv6_off())
            } else {
                reasons::not_heard(*listen)
            };
            done.failed.insert(*listen, failure);
        }
    }

    /// Waits a moment for IP Helper to listen for what has just been added, so that the answer to the distro is the right one.
    async fn wait_for_helper(&mut self) {
        let unheard = |this: &Self, listeners: &[PortHolder]| -> Vec<SocketAddr> {
            let listening = this.actual.relays.values().flat_map(|a| &a.listening);
            listening
                .filter(|listen| !this.machine.is_served(**listen, listeners))
                .copied()
                .collect()
        };
        let mut waited = Duration::ZERO;
        loop {
            let silent = match host::listeners() {
                Ok(listeners) => unheard(self, &listeners),
                Err(_) => return,
            };
            if silent.is_empty() {
                return;
            }
            if waited >= PATIENCE {
                for applied in self.actual.relays.values_mut() {
                    for listen in silent.iter().filter(|listen| applied.listening.remove(listen)) {
                        applied.failed.insert(*listen, reasons::not_heard(*listen));
                    }
                }
                return;
            }
            tokio::time::sleep(GLANCE).await;
            waited += GLANCE;
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

/// Counts what was logged: a set of a thousand forwards must not flood the log.
#[derive(Debug, Default)]
struct Told(usize);

impl Told {
    fn tell(&mut self, event: impl FnOnce()) {
        self.0 += 1;
        if self.0 <= TOLD {
            event();
        }
    }

    fn finish(&self) {
        if let Some(more) = self.0.checked_sub(TOLD).filter(|more| *more > 0) {
            tracing::info!(more, "and more portproxy entries were made or removed");
        }
    }
}

fn describe(entry: &Entry) -> String {
    format!("{} {} -> {}", entry.table.name(), entry.name, entry.content)
}

/// Removes every entry that an earlier run left behind. Costs nothing where there was none.
pub fn clear(state_dir: &Path) -> Cleared {
    if journal::load(state_dir).is_ok_and(|ours| ours.is_empty()) {
        return Cleared::default();
    }
    Portproxy::new(state_dir).close_all()
}
