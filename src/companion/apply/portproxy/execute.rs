//! One round, executed: the order in it is what makes a crash at any moment harmless.
//!
//! Entries that are not wanted are removed first, and are on the disk as removed before the journal forgets them. Then the
//! journal is written, with the new ones in it; then these are made; then IP Helper is told, once.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use wslnet_protocol::Protocol;

use super::entry::{self, Entry};
use super::journal::{self, Ours};
use super::round::{Blocked, Look, Round, decide};
use super::system::{Removed, Service};
use super::{Done, Portproxy, Quarrel, Seen, reasons};
use crate::host::portproxy::Table;
use crate::host::{self, Awake};
use crate::plan::Failure;

/// How often an entry that somebody removes is put back before it counts as contended.
pub(super) const PUT_BACK: u32 = 2;
/// An entry that has stood for so long is no longer the same quarrel.
pub(super) const CALM: Duration = Duration::from_secs(60);
/// How many owners of ports are looked up in one round; each costs a walk through the process table.
const LOOKUPS: usize = 2;
/// How many changes of one round the log names.
const TOLD: usize = 30;

impl Portproxy {
    /// Executes a round: removes, writes the journal, adds, tells IP Helper, and says what came of each entry.
    pub(super) fn bring_about(&mut self, wanted: &Ours, seen: &Seen, mut ours: Ours, now: Awake) -> Done {
        let helper = match seen.service {
            Ok(Service::Running(pid)) => pid,
            Ok(Service::Stopped | Service::Disabled | Service::Missing) | Err(_) => None,
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
        let (mut done, mut told) = (Done::default(), Told::default());
        self.note_removals(&round, wanted, &mut told, now);
        for (listen, found) in &round.changed {
            let found = found.describe();
            told.tell(|| tracing::warn!(address = %listen, found, "somebody changed a portproxy entry of ours: it is not ours any more"));
            done.cleared.foreign.push(found);
            ours.remove(listen);
        }
        ours.retain(|listen, _| !round.missing.contains(listen));

        self.remove(&round, &mut ours, &mut done, &mut told);
        if let Some(reason) = &done.cleared.left {
            self.tell_once(reason);
        }
        let add = self.admitted(wanted, seen, &round, &ours, &mut done);
        self.add(wanted, &add, ours, &mut done, &mut told);
        told.finish();
        self.explain(&round, &mut done);
        for listen in &round.stand {
            match reasons::without_service(&seen.service) {
                Some(failure) => drop(done.failed.insert(*listen, failure)),
                None => drop(done.standing.insert(*listen)),
            }
        }
        self.seen = round.stand.union(&done.standing).copied().collect();
        let changed = done.added || !done.cleared.removed.is_empty();
        self.tell_helper(&seen.service, changed);
        self.hear(&mut done, &round, &seen.listeners, now);
        done
    }

    /// Counts how often somebody removed what is still wanted.
    fn note_removals(&mut self, round: &Round, wanted: &Ours, told: &mut Told, now: Awake) {
        self.quarrels.retain(|listen, _| wanted.contains_key(listen));
        let removed = round.missing.intersection(&self.seen);
        for listen in removed.filter(|listen| wanted.contains_key(listen)) {
            let quarrel = self.quarrels.entry(*listen).or_insert(Quarrel {
                removals: 0,
                last: now,
            });
            if now.saturating_since(quarrel.last) >= CALM {
                quarrel.removals = 0;
            }
            quarrel.removals += 1;
            quarrel.last = now;
            let times = quarrel.removals;
            told.tell(
                || tracing::warn!(address = %listen, times, "somebody removed a portproxy entry of ours"),
            );
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
        let stop = match reasons::without_service(&seen.service) {
            Some(failure) => Some(failure),
            None => self
                .machine
                .may_write()
                .err()
                .map(|error| reasons::rights(&error)),
        };
        if let Some(failure) = stop {
            let all = add.iter().copied().collect();
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
            if add.contains(listen)
                || ours
                    .get(listen)
                    .is_some_and(|known| known.connect == mine.connect)
            {
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
            tracing::info!(more, "and more of that kind happened to portproxy entries");
        }
    }
}

fn describe(entry: &Entry) -> String {
    format!("{} {} -> {}", entry.table.name(), entry.name, entry.content)
}
