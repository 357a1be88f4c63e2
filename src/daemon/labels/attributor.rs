//! Finds the owner of each listener and keeps knowing it, at a cost that does not grow with the number of listeners.
//!
//! All distros share one network namespace, so a scan shows everybody's sockets. A socket is ours only when a process in
//! our own /proc holds it; the others are foreign. Who holds a socket changes while it lives: processes fork, start
//! other programs, pass descriptors on, and a manager (PID 1, `systemd --user`) lends its sockets to services that come
//! and go.
//!
//! - Known holders are checked once a second, which costs a few reads each, or, where the kernel tells of processes
//!   ([`Attributor::processes_changed`]), once a second while it does and twice a minute while it does not.
//! - The *new* processes are looked into for all sockets: a process that is forked inherits descriptors. That costs one listing of /proc
//!   ([`Census`](super::processes::Census)), comes at once where one of several holders is lost, then ever more rarely, in the end every ten
//!   seconds ([`Known::due`]), and not while no process comes.
//! - *All* processes are looked into for a new socket, for one that lost its last holder, once more when it is a few seconds old, and then the
//!   more rarely the more that costs: every one to ten minutes ([`Walks`]). That finds the old process that was handed a descriptor
//!   (SCM_RIGHTS, pidfd_getfd(2)). Sockets that still belong to nobody are then looked for in the threads of all processes:
//!   a thread may have descriptors of its own.
//!
//! What a look through all costs grows with the number of processes and their descriptors: about 35 us of a processor for an idle process, 3 us for
//! a descriptor. So another thread makes it ([`Walker`]), one look at a time. A listener that needs one waits for the end of that which is under way.
//!
//! A new socket is owned by nobody before all were looked into: another process may hold it than the one that made it listen, and it may be that
//! one that the configuration, or its own environment, keeps private. But where the kernel tells which process that was
//! ([`Attributor::listening`]), and that process holds the socket, its ancestors and all of its control group are looked into at once, and what
//! they say is enough for the beginning; all others follow. What remains: a holder that is neither and says `off` must have got the
//! descriptor from another process before that listened, and is heard when they were looked into ([`Need::Soon`](rhythm::Need::Soon)).
//!
//! What holders say of themselves is read from their environments by other threads ([`Declarations`]), because that can
//! hang; here nothing does.

mod known;
mod look;
mod rhythm;
mod walker;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::known::{Key, Known};
use self::rhythm::{VERIFY, VERIFY_QUIET, Walks};
use self::walker::Walker;
use super::declarations::{Declarations, Heard};
use super::names::{Names, Subordinates, Users};
use super::owners::Owners;
use super::processes::{Births, Description, GROUPS, Holder, OpenProcess, Processes};
use super::{Declared, Owner};
use crate::listeners::{Chime, Socket};

/// How many processes that made a socket listen are remembered,
const MAKERS: usize = 64;
/// and for how long: the event comes before the socket does, which is looked for until then.
const MAKERS_FOR: Duration = Duration::from_millis(200);

/// How long a scan waits for the looks of the other thread.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For the first one: a daemon that has just started knows nothing, and would have everything closed that was open.
    first: Duration,
    /// For one that it has ordered for sockets without a holder. Where processes are few, that is done by then.
    nobody: Duration,
    /// For all others.
    other: Duration,
}

/// Short enough for nobody to notice.
const PATIENCE: Patience = Patience {
    first: Duration::from_secs(60),
    nobody: Duration::from_millis(5),
    other: Duration::ZERO,
};

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
    /// The last process that had come at the last look.
    births: Option<Births>,
    /// Whether the kernel tells of processes.
    is_told: bool,
    /// Whether it has told of any since holders were checked; always, where it does not tell.
    news: bool,
    /// The same since the last look, or since one was last found to be of no use.
    news_for_looks: bool,
    /// Processes that made some socket listen, the latest last.
    makers: Vec<(i32, Instant)>,
    /// Holders that have let go of a descriptor, and may have another one of the same socket.
    again: BTreeSet<i32>,
    walker: Walker,
    walks: Walks,
    patience: Patience,
    has_walked: bool,
    warned: bool,
}

impl Attributor {
    /// Uses `/proc`, `/sys/fs/cgroup`, and `passwd`, `group` and `subuid` in `/etc`.
    ///
    /// To see processes of other users it needs to be root, or to have CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
    ///
    /// # Errors
    /// When /proc cannot be opened.
    pub fn new() -> io::Result<Self> {
        let [proc, groups, etc] = ["/proc", GROUPS, "/etc"].map(Path::new);
        Self::with_paths(proc, groups, etc)
    }

    /// The same with other folders.
    pub(crate) fn with_paths(proc: &Path, groups: &Path, etc: &Path) -> io::Result<Self> {
        let processes = Arc::new(Processes::open(proc, groups)?);
        Ok(Self {
            declarations: Declarations::new(Arc::clone(&processes)),
            walker: Walker::new(Arc::clone(&processes)),
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
            news_for_looks: true,
            makers: Vec::new(),
            again: BTreeSet::new(),
            walks: Walks::default(),
            patience: PATIENCE,
            has_walked: false,
            warned: false,
        })
    }

    /// From now on this rings when [`Self::has_found`] becomes true.
    pub fn ring(&mut self, chime: Chime) {
        self.walker.ring(chime);
    }

    /// Whether there is something to tell that was not there at the last call of [`Self::attribute`].
    pub fn has_found(&self) -> bool {
        self.walker.is_done()
    }

    /// These processes, each once, have just made some socket listen, or closed one, the latest first; or so it is said.
    pub fn listening(&mut self, makers: &[i32], now: Instant) {
        let makers = makers.get(..MAKERS).unwrap_or(makers);
        self.makers.retain(|(pid, _)| !makers.contains(pid));
        self.makers.extend(makers.iter().rev().map(|pid| (*pid, now)));
        let too_many = self.makers.len().saturating_sub(MAKERS);
        self.makers.drain(..too_many);
    }

    /// The owner of each socket, in the same order; `None` for foreign sockets, and for those of which it is not known yet
    /// ([`Self::is_decided`]). `sockets` is the whole result of a scan: what is missing from it is forgotten.
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
        is_news |= self.look_near(now);
        is_news |= self.look(now);
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

    /// Whether [`Self::is_decided`] holds for every socket of the last scan.
    pub fn knows_all(&self) -> bool {
        self.known.values().all(|known| known.is_decided)
    }

    /// Whether it is known by now who owns the socket, or that nobody here does. Before, nobody may act on it.
    pub fn is_decided(&self, socket: &Socket) -> bool {
        self.known
            .get(&Key::of(socket))
            .is_some_and(|known| known.is_decided)
    }

    /// When [`Self::attribute`] is next to be called, though the sockets are the same; `None` while there are none.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        if self.known.is_empty() {
            return None;
        }
        let is_quiet = self.is_told && !self.news && !self.known.values().any(Known::is_lost);
        let verify_pause = if is_quiet { VERIFY_QUIET } else { VERIFY };
        let verify = self.verified.map_or(now, |last| last + verify_pause);
        let of_looks = self.next_look(now).into_iter().chain([verify]);
        of_looks.chain(self.declarations.next(now)).min()
    }

    /// From now on [`Self::processes_changed`] is called whenever a process comes, goes or runs another program; or not any
    /// more.
    pub fn is_told_of_processes(&mut self, is_told: bool) {
        self.is_told = is_told;
    }

    /// Some process came, went, or runs another program.
    pub fn processes_changed(&mut self) {
        (self.news, self.news_for_looks) = (true, true);
    }

    /// Whether it is known already that processes changed, and will be looked into.
    pub fn knows_that_processes_changed(&self) -> bool {
        self.news
    }

    /// Forgets what is gone and notes what is new.
    fn follow(&mut self, sockets: &[Socket], now: Instant) {
        let present: BTreeSet<Key> = sockets.iter().map(Key::of).collect();
        self.known.retain(|key, _| present.contains(key));
        for key in present {
            self.known.entry(key).or_insert_with(|| Known::new(now));
        }
    }

    /// Checks that remembered holders still hold their sockets, and what they are called and where they belong by now.
    /// Opens each process once, however many sockets it has.
    fn verify(&mut self, now: Instant) {
        let mut open: BTreeMap<i32, Option<(OpenProcess, Arc<Description>)>> = BTreeMap::new();
        for (key, known) in &mut self.known {
            known.verify(now, |holder| {
                let pid = holder.process().pid;
                let current = open.entry(pid).or_insert_with(|| {
                    let process = self.processes.process(pid)?;
                    let description = process.describe()?;
                    Some((process, Arc::new(description)))
                });
                let Some((process, description)) = current else {
                    return false;
                };
                if description.process.start_time != holder.process().start_time {
                    return false;
                }
                if !process.holds(&holder.link, key.inode) {
                    // It may have moved the descriptor.
                    self.again.insert(pid);
                    return false;
                }
                // The same process may run another program by now.
                holder.description.clone_from(description);
                true
            });
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

#[cfg(test)]
mod tests;
