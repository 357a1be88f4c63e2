//! Finds the owner of each listener and keeps knowing it, at a cost that does not grow with the number of listeners.
//!
//! All distros share one network namespace, so a scan shows everybody's sockets. A socket is ours only when a process in
//! our own /proc holds it; the others are foreign. Who holds a socket changes while it lives: processes fork, start
//! other programs, pass descriptors on, and a manager (PID 1, `systemd --user`) lends its sockets to services that come
//! and go. Known holders are checked once a second, which costs a few reads each, or, where the kernel tells of processes
//! ([`Attributor::processes_changed`]), once a second while it does and twice a minute while it does not. Others are found only by looking
//! through the whole of /proc, which is the dear part: at once for a new socket and for one that lost a holder, then
//! ever more rarely (see [`Known::pause`]), and in the end every ten seconds while processes come, since a new one may have
//! been given any socket; where none has come, once a minute. One walk answers for all sockets, so the next one waits for
//! the most impatient socket only. Sockets that still belong to nobody are then looked for in the threads of all processes,
//! now and then: a thread may have descriptors of its own.
//!
//! A new socket is owned by nobody before the whole walk has been made, though the kernel's event could name the process
//! that made it listen: another process may hold it too, and it may be that one that the configuration, or its own
//! environment, keeps private.
//!
//! What holders say of themselves is read from their environments by other threads ([`Declarations`]), because that can
//! hang; here nothing does.
//!
//! What a look costs grows with the number of processes and their descriptors, about 35 us of a processor for an idle process with
//! three; no single process can hold it up for longer than it has descriptors.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::declarations::{Declarations, Heard};
use super::names::{Names, Subordinates, Users};
use super::owners::Owners;
use super::processes::{Births, Description, Holder, OpenProcess, Process, Processes};
use super::{Declared, Owner};
use crate::listeners::Socket;

/// Up to which age (since the socket or its present holders were first seen) how long a look stays good enough.
type Pauses = [(Duration, Duration)];

/// While nobody is known to serve the socket: a program that just started is about to turn up.
const UNSETTLED: &Pauses = &[
    (Duration::from_millis(100), Duration::from_millis(100)),
    (Duration::from_millis(400), Duration::from_millis(300)),
    (Duration::from_millis(1400), Duration::from_secs(1)),
    (Duration::from_millis(4400), Duration::from_secs(3)),
];
/// While somebody serves it: servers start their workers soon after they listen.
const OWNED: &Pauses = &[
    (Duration::from_secs(5), Duration::from_secs(1)),
    (Duration::from_secs(60), Duration::from_secs(3)),
];
/// After that, while only a manager holds the socket. The service that it starts must not go unnamed for long.
const LENT: Duration = Duration::from_secs(3);
/// After that, for all others.
const STEADY: Duration = Duration::from_secs(10);
/// From this age on, a socket that no process holds is looked for in the threads too, at most once in [`STEADY`].
const THREADS_FROM: Duration = Duration::from_millis(4400);
/// The longer a look into the threads takes, the rarer it is: at most this part of the time.
const THREADS_SHARE: u32 = 100;
/// The longest time between two walks, though no process has come. What is left is that one was handed a descriptor.
const RECONCILE: Duration = Duration::from_secs(60);
/// How often remembered holders are checked,
const VERIFY: Duration = Duration::from_secs(1);
/// and where it is known that no process came, went, or runs another program. What is left is that one closed a descriptor.
const VERIFY_QUIET: Duration = Duration::from_secs(30);

/// The PID of the distro's init, which holds sockets on behalf of services.
const INIT: i32 = 1;
/// What a user's own service manager is called.
const USER_MANAGER: &str = "systemd";

/// Tells who owns each listener. See the module's page for when it looks.
#[derive(Debug)]
pub struct Attributor {
    processes: Arc<Processes>,
    users: Users,
    groups: Names,
    subordinates: Subordinates,
    declarations: Declarations,
    known: BTreeMap<Key, Known>,
    owners: Owners,
    verified: Option<Instant>,
    /// The last process that had come at the last walk.
    births: Option<Births>,
    /// Whether the kernel tells of processes.
    is_told: bool,
    /// Whether it has told of any since holders were checked; always, where it does not tell.
    news: bool,
    /// The same since the last walk, or since one was last found to be of no use.
    news_for_walks: bool,
    warned: bool,
    /// When the threads may be looked through again; `None` before the first time.
    threads_next: Option<Instant>,
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
    /// When the socket was first seen, or its holders last changed.
    since: Instant,
    /// When it was last looked for; `None` when that is due at once.
    looked: Option<Instant>,
    /// When a look was last found to be of no use, as no process had come.
    glanced: Option<Instant>,
}

impl Attributor {
    /// Uses `/proc`, and `passwd`, `group` and `subuid` in `/etc`.
    ///
    /// To see processes of other users it needs to be root, or to have CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
    ///
    /// # Errors
    /// When /proc cannot be opened.
    pub fn new() -> io::Result<Self> {
        Self::with_paths(Path::new("/proc"), Path::new("/etc"))
    }

    fn with_paths(proc: &Path, etc: &Path) -> io::Result<Self> {
        let processes = Arc::new(Processes::open(proc)?);
        Ok(Self {
            declarations: Declarations::new(Arc::clone(&processes)),
            processes,
            users: Users::new(etc.join("passwd")),
            groups: Names::new(etc.join("group")),
            subordinates: Subordinates::new(etc.join("subuid")),
            known: BTreeMap::new(),
            owners: Owners::default(),
            verified: None,
            births: None,
            is_told: false,
            news: true,
            news_for_walks: true,
            warned: false,
            threads_next: None,
        })
    }

    /// The owner of each socket, in the same order; `None` for foreign sockets. `sockets` is the whole result of a scan:
    /// what is missing from it is forgotten.
    pub fn attribute(&mut self, sockets: &[Socket], now: Instant) -> Vec<Option<Arc<Owner>>> {
        self.follow(sockets, now);
        let mut is_news = false;
        if self
            .verified
            .is_none_or(|last| now.saturating_duration_since(last) >= VERIFY)
        {
            self.verified = Some(now);
            self.news &= !self.is_told;
            self.users.refresh();
            self.groups.refresh();
            self.subordinates.refresh(&self.users);
            self.verify(now);
            is_news = true;
        }
        if self.known.values().any(|known| known.is_due(now)) && self.is_worth_a_look(now) {
            self.look(now);
            is_news = true;
        }
        if is_news {
            let speakers = self.known.values().flat_map(Known::speakers);
            let responsible = |uid| self.subordinates.responsible(uid);
            self.declarations.follow(speakers, responsible, now);
        }
        self.declarations.listen();
        let mut owners = std::mem::take(&mut self.owners);
        let mut round = owners.round();
        let owner = |socket: &Socket| {
            let known = self.known.get(&Key::of(socket))?;
            let holders = known.holders.as_slice();
            (!holders.is_empty())
                .then(|| round.of(socket.uid, holders, || self.owner(socket.uid, holders, now)))
        };
        let told = sockets.iter().map(owner).collect();
        self.owners = owners;
        told
    }

    /// When [`Self::attribute`] is next to be called, though the sockets are the same; `None` while there are none.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        if self.known.is_empty() {
            return None;
        }
        let are_walks_quiet = self.is_told && !self.news_for_walks;
        let looks = self
            .known
            .values()
            .map(|known| known.next(are_walks_quiet).unwrap_or(now));
        let is_quiet = self.is_told && !self.news;
        let verify_pause = if is_quiet { VERIFY_QUIET } else { VERIFY };
        let verify = self.verified.map_or(now, |last| last + verify_pause);
        looks.chain([verify]).chain(self.declarations.next(now)).min()
    }

    /// From now on [`Self::processes_changed`] is called whenever a process comes, goes or runs another program; or not any
    /// more.
    pub fn is_told_of_processes(&mut self, is_told: bool) {
        self.is_told = is_told;
    }

    /// Some process came, went, or runs another program.
    pub fn processes_changed(&mut self) {
        (self.news, self.news_for_walks) = (true, true);
    }

    /// Whether it is known already that processes changed, and will be looked into.
    pub fn knows_that_processes_changed(&self) -> bool {
        self.news
    }

    /// Whether a look that is due could find anything new. A process that has come since the last one may have been given
    /// any socket.
    fn is_worth_a_look(&mut self, now: Instant) -> bool {
        self.news_for_walks &= !self.is_told;
        let births = self.processes.births();
        let has_news = births.is_none() || births != self.births;
        if has_news || self.known.values().any(|known| known.is_urgent(now)) {
            self.births = births;
            return true;
        }
        for known in self.known.values_mut().filter(|known| known.is_due(now)) {
            known.glanced = Some(now);
        }
        false
    }

    /// Forgets what is gone and makes what is new due.
    fn follow(&mut self, sockets: &[Socket], now: Instant) {
        let present: BTreeSet<Key> = sockets.iter().map(Key::of).collect();
        self.known.retain(|key, _| present.contains(key));
        for key in present {
            self.known.entry(key).or_insert_with(|| Known {
                holders: Vec::new(),
                since: now,
                looked: None,
                glanced: None,
            });
        }
    }

    /// Checks that remembered holders still hold their sockets, and what they are called and where they belong by now.
    /// Opens each process once, however many sockets it has.
    fn verify(&mut self, now: Instant) {
        let mut open: BTreeMap<i32, Option<(OpenProcess, Arc<Description>)>> = BTreeMap::new();
        for (key, known) in &mut self.known {
            let before = known.holders.len();
            known.holders.retain_mut(|holder| {
                let current = open.entry(holder.process().pid).or_insert_with_key(|pid| {
                    let process = self.processes.process(*pid)?;
                    let description = process.describe()?;
                    Some((process, Arc::new(description)))
                });
                let Some((process, description)) = current else {
                    return false;
                };
                if description.process.start_time != holder.process().start_time
                    || !process.holds(&holder.link, key.inode)
                {
                    return false;
                }
                // The same process may run another program by now.
                holder.description.clone_from(description);
                true
            });
            // It may have moved the descriptor, or somebody else may have taken over.
            if known.holders.len() < before {
                known.since = now;
                known.looked = None;
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
                known.update(walk.holders_of(key.inode), now);
            }
            known.looked = Some(now);
        }
        self.look_into_threads(now);
    }

    /// A second walk, for sockets that the first one has found nobody for.
    fn look_into_threads(&mut self, now: Instant) {
        let unclaimed = |key: &Key, known: &Known| key.inode != 0 && known.holders.is_empty();
        let is_due = self.threads_next.is_none_or(|next| next <= now)
            && self.known.iter().any(|(key, known)| {
                unclaimed(key, known) && now.saturating_duration_since(known.since) >= THREADS_FROM
            });
        if !is_due {
            return;
        }
        let wanted: BTreeSet<u64> = self
            .known
            .iter()
            .filter(|(key, known)| unclaimed(key, known))
            .map(|(key, _)| key.inode)
            .collect();
        let start = Instant::now();
        // The walk before this one has told of its troubles already.
        if let Ok(walk) = self.processes.threads_that_hold(&wanted) {
            for (key, known) in &mut self.known {
                if wanted.contains(&key.inode) {
                    known.update(walk.holders_of(key.inode), now);
                }
            }
        }
        self.threads_next = Some(now + STEADY.max(start.elapsed() * THREADS_SHARE));
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

    fn owner(&self, uid: u32, holders: &[Holder], now: Instant) -> Owner {
        let mut declared = Declared::Known;
        let mut processes = Vec::new();
        for holder in holders {
            let mut process = holder.process().clone();
            process.group = self.groups.name(process.gid).map(str::to_owned);
            if let Some(reason) = holder.description.trouble.clone() {
                declared.worsen(Declared::Unreadable { reason });
            }
            match self.declarations.of(holder, now) {
                Heard::Said(said) => process.says = said.map(str::to_owned),
                Heard::Pending => declared.worsen(Declared::Pending),
                Heard::Unreadable(reason) => declared.worsen(Declared::Unreadable { reason }),
            }
            processes.push(process);
        }
        Owner {
            holders: processes,
            uid,
            user: self.users.name(uid).map(str::to_owned),
            declared,
        }
    }
}

impl Known {
    fn is_due(&self, now: Instant) -> bool {
        self.due().is_none_or(|due| now >= due)
    }

    /// When the next look is due; `None` when that is at once.
    fn due(&self) -> Option<Instant> {
        let last = self.looked?;
        let (pause, _) = self.pause(last.saturating_duration_since(self.since));
        let glanced = last.max(self.glanced.unwrap_or(last));
        Some((glanced + pause).min(last + RECONCILE))
    }

    /// When the next look is due, if no process came (`quiet`) or it is not known; `None` when that is at once.
    fn next(&self, quiet: bool) -> Option<Instant> {
        let last = self.looked?;
        let (_, is_young) = self.pause(last.saturating_duration_since(self.since));
        if quiet && !is_young {
            Some(last + RECONCILE)
        } else {
            self.due()
        }
    }

    /// Whether the look that is due has to be made although no process has come: what is young is still being made, and
    /// nothing is left out for ever.
    fn is_urgent(&self, now: Instant) -> bool {
        self.looked.is_none_or(|last| {
            let (_, is_young) = self.pause(last.saturating_duration_since(self.since));
            now.saturating_duration_since(last) >= RECONCILE || (is_young && self.is_due(now))
        })
    }

    /// How long a look at this age stays good enough, and whether that is still an early one.
    fn pause(&self, age: Duration) -> (Duration, bool) {
        let lent = self.holders.iter().all(|holder| is_manager(holder.process()));
        let (young, later) = match (self.holders.is_empty(), lent) {
            (true, _) => (UNSETTLED, STEADY),
            (false, true) => (UNSETTLED, LENT),
            (false, false) => (OWNED, STEADY),
        };
        let early = young.iter().find(|(until, _)| age < *until);
        early.map_or((later, false), |(_, pause)| (*pause, true))
    }

    /// The holders whose word counts: managers speak for a socket that nobody else holds.
    fn speakers(&self) -> impl Iterator<Item = &Holder> {
        let is_other = |holder: &Holder| !is_manager(holder.process());
        let is_served = self.holders.iter().any(is_other);
        self.holders
            .iter()
            .filter(move |holder| !is_served || is_other(holder))
    }

    /// Takes over what a walk found, oldest first, managers last. Where one holder came, others may follow. A thread with
    /// descriptors of its own, which most walks do not see, stays a holder until it is seen to have let go.
    fn update(&mut self, mut found: Vec<Holder>, now: Instant) {
        let is_found = |holder: &Holder| found.iter().any(|other| other.identity() == holder.identity());
        let threads: Vec<Holder> = self
            .holders
            .iter()
            .filter(|holder| holder.is_by_thread() && !is_found(holder))
            .cloned()
            .collect();
        found.extend(threads);
        found.sort_by_key(|holder| {
            let process = holder.process();
            (is_manager(process), process.start_time, process.pid)
        });
        let identities = |holders: &[Holder]| holders.iter().map(Holder::identity).collect::<Vec<_>>();
        if identities(&found) != identities(&self.holders) {
            self.since = now;
        }
        self.holders = found;
    }
}

/// Whether a process holds sockets on behalf of services that it starts when they are needed. A program can call itself
/// what it likes. By that it changes the rhythm of looks and the order of holders, and its own word goes unheard beside that
/// of others.
fn is_manager(process: &Process) -> bool {
    process.pid == INIT || process.name == USER_MANAGER
}

#[cfg(test)]
mod tests;
