//! Finds the owner of each listener and keeps knowing it, at a cost that does not grow with time.
//!
//! All distros share one network namespace, so a scan shows everybody's sockets. A socket is ours only when a process in
//! our own /proc holds it; the others are foreign. Looking through /proc is the dear part, so that
//! happens only when something is due: a new socket, a socket whose holders are gone, a socket seen a second ago (its
//! holder may have forked since), and, ever more rarely, sockets that nobody here holds, or only PID 1, because they may
//! be handed to somebody later. One walk answers for all sockets at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Owner;
use super::processes::{Holder, OpenProcess, Process, Processes, Walk};
use super::users::Users;
use crate::listeners::Socket;

/// How long after each look the next one is due while the owner is not settled; the last one repeats.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];
/// When an owned socket is looked at for the second and last time.
const SETTLE: Duration = Duration::from_secs(1);
/// How often remembered holders are checked.
const VERIFY: Duration = Duration::from_secs(1);

/// The PID of the distro's init, which holds sockets on behalf of services.
const INIT: i32 = 1;

/// Tells who owns each listener. See the module's page for when it looks.
#[derive(Debug)]
pub struct Attributor {
    processes: Processes,
    users: Users,
    known: BTreeMap<Key, Known>,
    verified: Option<Instant>,
    warned: bool,
}

/// What has to stay the same for an owner to stay the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    id: u64,
    inode: u64,
    address: SocketAddr,
}

impl Key {
    fn of(socket: &Socket) -> Self {
        Self {
            id: socket.id(),
            inode: socket.inode,
            address: socket.address,
        }
    }
}

#[derive(Debug)]
struct Known {
    /// Empty for a foreign socket.
    holders: Vec<Holder>,
    /// How many looks have been spent since the owner was last lost.
    looks: usize,
    next_look: Option<Instant>,
}

impl Attributor {
    /// Uses `/proc` and `/etc/passwd`.
    ///
    /// To see processes of other users it needs to be root, or to have CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
    ///
    /// # Errors
    /// When /proc cannot be opened.
    pub fn new() -> io::Result<Self> {
        Self::with_paths(Path::new("/proc"), Path::new("/etc/passwd"))
    }

    fn with_paths(proc: &Path, passwd: &Path) -> io::Result<Self> {
        Ok(Self {
            processes: Processes::open(proc)?,
            users: Users::new(passwd),
            known: BTreeMap::new(),
            verified: None,
            warned: false,
        })
    }

    /// The owner of each socket, in the same order; `None` for foreign sockets. `sockets` is the whole result of a scan:
    /// what is missing from it is forgotten.
    pub fn attribute(&mut self, sockets: &[Socket], now: Instant) -> Vec<Option<Owner>> {
        self.follow(sockets, now);
        if self
            .verified
            .is_none_or(|last| now.saturating_duration_since(last) >= VERIFY)
        {
            self.verified = Some(now);
            self.users.refresh();
            self.verify(now);
        }
        if self.known.values().any(|known| known.is_due(now)) {
            self.look(now);
        }
        sockets.iter().map(|socket| self.owner(socket)).collect()
    }

    /// Forgets what is gone and makes what is new due.
    fn follow(&mut self, sockets: &[Socket], now: Instant) {
        let present: BTreeSet<Key> = sockets.iter().map(Key::of).collect();
        self.known.retain(|key, _| present.contains(key));
        for key in present {
            self.known.entry(key).or_insert_with(|| Known {
                holders: Vec::new(),
                looks: 0,
                next_look: Some(now),
            });
        }
    }

    /// Checks that remembered holders still hold their sockets. Opens each process once, however many sockets it has.
    fn verify(&mut self, now: Instant) {
        let mut open: BTreeMap<i32, Option<(OpenProcess, Process)>> = BTreeMap::new();
        for (key, known) in &mut self.known {
            if known.holders.is_empty() {
                continue;
            }
            known.holders.retain_mut(|holder| {
                let current = open.entry(holder.process.pid).or_insert_with_key(|pid| {
                    let process = self.processes.process(*pid)?;
                    let description = process.describe()?;
                    Some((process, description))
                });
                let Some((process, description)) = current else {
                    return false;
                };
                if description.start_time != holder.process.start_time
                    || !process.holds(&holder.link, key.inode)
                {
                    return false;
                }
                // The same process may run another program by now.
                holder.process.clone_from(description);
                true
            });
            if known.holders.is_empty() {
                known.looks = 0;
                known.next_look = Some(now);
            }
        }
    }

    /// One walk through /proc for all sockets.
    fn look(&mut self, now: Instant) {
        let wanted: BTreeSet<u64> = self
            .known
            .keys()
            .map(|key| key.inode)
            .filter(|inode| *inode != 0)
            .collect();
        let found = self.processes.holders_of(&wanted);
        match &found {
            Ok(walk) => self.warn_once(walk.hidden),
            Err(error) => {
                tracing::warn!(%error, "cannot look for the owners of listeners in /proc, trying again")
            }
        }
        for (key, known) in &mut self.known {
            if let Ok(walk) = &found {
                known.holders = sorted_holders(walk, key.inode);
            }
            known.plan_next_look(now);
        }
    }

    /// Sockets of processes that are hidden from us look foreign: that must not stay a riddle.
    fn warn_once(&mut self, hidden: usize) {
        if hidden > 0 && !self.warned {
            self.warned = true;
            tracing::warn!(
                hidden,
                "may not look into some processes, their listeners count as foreign: \
                 this needs root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
            );
        }
    }

    fn owner(&self, socket: &Socket) -> Option<Owner> {
        let known = self
            .known
            .get(&Key::of(socket))
            .filter(|known| !known.holders.is_empty())?;
        Some(Owner {
            holders: known
                .holders
                .iter()
                .map(|holder| holder.process.clone())
                .collect(),
            uid: socket.uid,
            user: self.users.name(socket.uid).map(str::to_owned),
        })
    }
}

impl Known {
    fn is_due(&self, now: Instant) -> bool {
        self.next_look.is_some_and(|next| next <= now)
    }

    /// Nobody holds it, or only init, which may be waiting to start the service it belongs to.
    fn is_unsettled(&self) -> bool {
        self.holders.iter().all(|holder| holder.process.pid == INIT)
    }

    /// After a walk: when this socket needs one of its own again.
    fn plan_next_look(&mut self, now: Instant) {
        let due = self.is_due(now);
        let last_pause = self.looks >= PAUSES.len();
        if due {
            self.looks += 1;
        } else if !(last_pause && self.is_unsettled()) {
            // Somebody else's walk does not use up the quick looks; but sockets that have none left share theirs.
            return;
        }
        self.next_look = if self.is_unsettled() {
            PAUSES
                .get(self.looks.saturating_sub(1))
                .or(PAUSES.last())
                .map(|pause| now + *pause)
        } else if self.looks == 1 {
            Some(now + SETTLE)
        } else {
            None
        };
    }
}

/// Oldest first, init last.
fn sorted_holders(walk: &Walk, inode: u64) -> Vec<Holder> {
    let mut holders = walk.holders.get(&inode).cloned().unwrap_or_default();
    holders.sort_by_key(|Holder { process, .. }| (process.pid == INIT, process.start_time, process.pid));
    holders
}

#[cfg(test)]
mod tests;
