//! What is known of the holders of one socket.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::rhythm::{LENT, LOST, Need, OWNED, SETTLED, STEADY, UNSETTLED};
use crate::labels::processes::{Holder, Process};
use crate::listeners::Socket;

/// The PID of the distro's init, which holds sockets on behalf of services.
const INIT: i32 = 1;
/// What a user's own service manager is called.
const USER_MANAGER: &str = "systemd";

/// What has to stay the same for an owner to stay the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) id: u64,
    pub(super) inode: u64,
    pub(super) address: SocketAddr,
}

impl Key {
    pub(super) fn of(socket: &Socket) -> Self {
        Self {
            id: socket.id(),
            inode: socket.inode,
            address: socket.address,
        }
    }
}

/// The holders of one socket, and what is to be done to know all of them.
#[derive(Debug)]
pub(super) struct Known {
    /// Empty for a foreign socket.
    pub(super) holders: Vec<Holder>,
    /// Whether that can be relied on. Before, nobody may act on it.
    pub(super) is_decided: bool,
    /// Since when it is known that none of the holders holds it any more. They are kept until it is known who does.
    lost: Option<Instant>,
    /// For what all processes have to be looked into,
    need: Option<Need>,
    /// and what it was when that was begun.
    answered: Option<Need>,
    /// When the socket was first seen.
    born: Instant,
    /// Whether all processes were looked into at that age at which it counts as settled.
    is_settled: bool,
    /// When the socket was first seen, or its holders last changed.
    since: Instant,
    /// When it was last looked for; `None` when that is due at once.
    looked: Option<Instant>,
    /// When a look was last found to be of no use, as no process had come.
    glanced: Option<Instant>,
}

impl Known {
    /// A socket that was not seen before.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            holders: Vec::new(),
            is_decided: false,
            lost: None,
            need: Some(Need::Now),
            answered: None,
            born: now,
            is_settled: false,
            since: now,
            looked: None,
            glanced: None,
        }
    }

    /// For what all processes are to be looked into at this moment.
    pub(super) fn need(&self, now: Instant) -> Option<Need> {
        let has_settled = self.settles().filter(|at| *at <= now);
        self.need.or(has_settled.map(|_| Need::Soon))
    }

    /// When it will be of that age at which it counts as settled, if it is not yet.
    pub(super) fn settles(&self) -> Option<Instant> {
        (!self.is_settled).then_some(self.born + SETTLED)
    }

    /// Whether it is to be looked for in the threads too, if no process holds it.
    pub(super) fn is_for_threads(&self, now: Instant) -> bool {
        self.holders.is_empty() && now.saturating_duration_since(self.since) >= SETTLED
    }

    /// Whether only a look through all processes can help.
    pub(super) fn needs_all(&self) -> bool {
        self.need == Some(Need::Now)
    }

    /// Whether new processes are to be looked into for it by now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.needs_all() && self.due().is_none_or(|due| due <= now)
    }

    /// Whether that is so even if none has come.
    pub(super) fn is_urgent(&self) -> bool {
        !self.needs_all() && self.looked.is_none()
    }

    /// When new processes are next to be looked into for it: `None` is at once.
    pub(super) fn due(&self) -> Option<Instant> {
        let last = self.looked?;
        let pause = self.pause(last.saturating_duration_since(self.since));
        Some(last.max(self.glanced.unwrap_or(last)) + pause)
    }

    /// There is no new process to be looked into.
    pub(super) fn glance(&mut self, now: Instant) {
        self.glanced = Some(now);
    }

    /// All processes, or the new ones, are being looked into for it.
    pub(super) fn begin(&mut self, is_for_all: bool, now: Instant) {
        if is_for_all {
            self.answered = self.need.take();
            self.is_settled |= self.settles().is_some_and(|at| at <= now);
        }
        self.looked = Some(now);
    }

    /// How long a look at this age stays good enough.
    fn pause(&self, age: Duration) -> Duration {
        let lent = self.holders.iter().all(|holder| is_manager(holder.process()));
        let (young, later) = match (self.holders.is_empty(), lent) {
            (true, _) => (UNSETTLED, STEADY),
            (false, true) => (UNSETTLED, LENT),
            (false, false) => (OWNED, STEADY),
        };
        let early = young.iter().find(|(until, _)| age < *until);
        early.map_or(later, |(_, pause)| *pause)
    }

    /// The holders whose word counts: managers speak for a socket that nobody else holds.
    pub(super) fn speakers(&self) -> impl Iterator<Item = &Holder> {
        let is_other = |holder: &Holder| !is_manager(holder.process());
        let is_served = self.holders.iter().any(is_other);
        self.holders
            .iter()
            .filter(move |holder| !is_served || is_other(holder))
    }

    /// Whether none of the known holders holds it any more.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Checks the holders; `still_holds` may describe one anew. Where one holds it no more, another process may. Where none does, and
    /// nobody finds out for long who does, nothing is known of it.
    pub(super) fn verify(&mut self, now: Instant, mut still_holds: impl FnMut(&mut Holder) -> bool) {
        let stay: Vec<bool> = self.holders.iter_mut().map(&mut still_holds).collect();
        if !stay.is_empty() && !stay.contains(&true) {
            let lost = *self.lost.get_or_insert(now);
            self.is_decided &= now.saturating_duration_since(lost) < LOST;
            self.need = Some(Need::Now);
            return;
        }
        self.lost = None;
        if stay.contains(&false) {
            let mut stay = stay.into_iter();
            self.holders.retain(|_| stay.next() == Some(true));
            (self.since, self.looked) = (now, None);
        }
    }

    /// Takes over those who are near to the process that made it listen, if it holds it. Others may, too.
    pub(super) fn found_near(&mut self, found: Vec<Holder>, now: Instant) {
        if self.is_decided || found.is_empty() {
            return;
        }
        self.need = Some(Need::Soon);
        (self.is_decided, self.lost, self.looked) = (true, None, Some(now));
        self.take_over(found, now);
    }

    /// Takes over what a look through all processes found. A thread with descriptors of its own, which most looks do not see, stays
    /// a holder until it is seen to have let go.
    pub(super) fn found_in_all(&mut self, mut found: Vec<Holder>, now: Instant) {
        if !self.is_lost() {
            let threads = self.holders.iter().filter(|holder| holder.is_by_thread());
            let missing = threads.filter(|holder| !has(&found, holder)).cloned();
            let missing: Vec<Holder> = missing.collect();
            found.extend(missing);
        }
        (self.is_decided, self.lost, self.answered) = (true, None, None);
        self.take_over(found, now);
    }

    /// Takes over what a look into some processes found, or one into threads: all who were known stay.
    pub(super) fn found_more(&mut self, mut found: Vec<Holder>, now: Instant) {
        if !self.is_decided || self.needs_all() {
            return;
        }
        let known = self.holders.iter().filter(|holder| !has(&found, holder)).cloned();
        let known: Vec<Holder> = known.collect();
        found.extend(known);
        self.take_over(found, now);
    }

    /// The look through all processes came to nothing.
    pub(super) fn found_nobody(&mut self) {
        self.need = self.need.max(self.answered.take());
        self.is_decided |= self.lost.is_none();
    }

    /// Oldest first, managers last. Where one holder came, others may follow.
    fn take_over(&mut self, mut found: Vec<Holder>, now: Instant) {
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

fn has(holders: &[Holder], holder: &Holder) -> bool {
    holders.iter().any(|other| other.identity() == holder.identity())
}

/// Whether a process holds sockets on behalf of services that it starts when they are needed. A program can call itself
/// what it likes. By that it changes the rhythm of looks and the order of holders, and its own word goes unheard beside that
/// of others.
fn is_manager(process: &Process) -> bool {
    process.pid == INIT || process.name == USER_MANAGER
}
