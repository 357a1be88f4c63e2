//! The kernel's own word that a TCP socket began to listen, or stopped: its tracepoint `sock:inet_sock_set_state`, opened
//! once for each processor.
//!
//! An event is a hint and nothing more. It comes from every network namespace, before the socket is in the kernel's table,
//! and its port may not be chosen yet. So the kernel records nothing of it but which process it was, into a page
//! that is mapped read-only and cannot overflow ([`ring`]); of processes not even that. No address of any connection ever reaches the
//! daemon. The scan that follows is the truth, and what a process is said to have done is believed only if it holds the socket.
//!
//! The kernel filters. With `oldstate==10` alone every accepted connection would be an event, since the kernel makes its
//! socket from the one that listens; so only what listens from now on (10 is `TCP_LISTEN`) or closes from listening (7 is
//! `TCP_CLOSE`) counts. The closing is taken from here, too, and not from sock_diag's destroy groups: these tell of each
//! connection that ends, which costs more the more there are, and later.
//!
//! Three more of the scheduler's tell that a process was made, runs another program, or ended: then somebody else may hold a
//! socket. These are many on a busy machine, so each tells once and then not before it is asked to again.
//!
//! Opening them takes `CAP_PERFMON` and the right to read tracefs, using them takes nothing. So under systemd another
//! program opens them and ends ([`handover`]); where the daemon has the right itself, it does so itself.

mod cpus;
pub mod handover;
mod open;
mod ring;
mod tracefs;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use self::ring::Ring;

/// The tracepoint cannot be had. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(String);

impl Unavailable {
    pub(super) fn because(what: &str, error: &io::Error) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// What a tracepoint tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A socket listens from now on, or no longer.
    Listeners,
    /// There is a new process or thread.
    Fork,
    /// A process runs another program.
    Exec,
    /// A process or thread has ended.
    Exit,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Listeners, Self::Fork, Self::Exec, Self::Exit];

    /// Where tracefs has it, below `events`.
    fn folder(self) -> &'static str {
        match self {
            Self::Listeners => "sock/inet_sock_set_state",
            Self::Fork => "sched/sched_process_fork",
            Self::Exec => "sched/sched_process_exec",
            Self::Exit => "sched/sched_process_exit",
        }
    }

    /// Which of its events count, in the kernel's own words; all, if there is none. 10 is TCP_LISTEN, 7 is TCP_CLOSE
    /// (include/net/tcp_states.h).
    fn filter(self) -> Option<&'static CStr> {
        match self {
            Self::Listeners => Some(c"newstate==10||(oldstate==10&&newstate==7)"),
            Self::Fork | Self::Exec | Self::Exit => None,
        }
    }
}

/// One tracepoint on one processor.
pub type Key = (Kind, u32);

/// The tracepoints on all processors that run.
#[derive(Debug)]
pub struct Tracepoints {
    sources: BTreeMap<Key, Source>,
    /// Their numbers, where this process may open them itself.
    ids: Option<BTreeMap<Kind, u64>>,
}

/// One tracepoint on one processor.
#[derive(Debug)]
struct Source {
    event: OwnedFd,
    /// Without it the kernel has nowhere to record to, and wakes nobody up.
    ring: Ring,
    /// For how long it had told of events when that was last asked.
    enabled: u64,
}

impl Source {
    fn new(event: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            ring: Ring::of(&event)?,
            event,
            enabled: 0,
        })
    }

    /// Whether it has told of events since this was last asked. It does not any more once its processor was switched off, as in
    /// a sleep of the machine, also when that is back: nothing else says so (perf_event_exit_cpu() of kernel/events/core.c).
    fn is_alive(&mut self) -> bool {
        // How many events there were, and for how long it was enabled, in nanoseconds.
        let mut values = [0; 2 * size_of::<u64>()];
        let read = nix::unistd::read(&self.event, &mut values);
        let enabled = values.last_chunk().copied().map_or(0, u64::from_ne_bytes);
        if read != Ok(values.len()) {
            // One of a former release, which does not tell.
            return true;
        }
        enabled > std::mem::replace(&mut self.enabled, enabled)
    }
}

impl Tracepoints {
    /// Takes what systemd hands over, or opens them where this process may.
    ///
    /// # Errors
    /// When neither gives all of them.
    pub fn open() -> Result<Self, Unavailable> {
        let handed = handover::take();
        if !handed.is_empty() {
            let sources = handed
                .into_iter()
                .map(|(key, event)| Ok((key, Source::new(event)?)))
                .collect::<io::Result<_>>()
                .map_err(|error| Unavailable::because("what systemd handed over is of no use", &error))?;
            let mut handed = Self { sources, ids: None };
            handed.follow_cpus()?;
            return Ok(handed);
        }
        Self::open_here().map_err(|unavailable| {
            if crate::systemd::is_our_manager() {
                let missing = "systemd handed over no tracepoints; `journalctl -u wslnetd` says why";
                Unavailable(missing.to_owned())
            } else {
                unavailable
            }
        })
    }

    fn open_here() -> Result<Self, Unavailable> {
        let mut tracepoints = Self {
            sources: BTreeMap::new(),
            ids: Some(tracefs::ids()?),
        };
        tracepoints.follow_cpus()?;
        Ok(tracepoints)
    }

    /// What to wait for.
    pub fn fds(&self) -> impl Iterator<Item = (Key, BorrowedFd<'_>)> {
        self.sources
            .iter()
            .map(|(key, source)| (*key, source.event.as_fd()))
    }

    /// Follows processors that come and go. Says whether there is something else to wait for now.
    ///
    /// # Errors
    /// When a processor that runs is not covered.
    pub fn follow_cpus(&mut self) -> Result<bool, Unavailable> {
        let online = cpus::online();
        let online =
            online.map_err(|error| Unavailable::because("the processors cannot be listed", &error))?;
        // What was opened for one that went is dead, and stays so when that comes back.
        self.sources.retain(|(_, cpu), _| online.contains(cpu));
        // All of a processor die together.
        let listeners = self
            .sources
            .iter_mut()
            .filter(|((kind, _), _)| *kind == Kind::Listeners);
        let dead: BTreeSet<u32> = listeners
            .filter_map(|((_, cpu), source)| (!source.is_alive()).then_some(*cpu))
            .collect();
        self.sources.retain(|(_, cpu), _| !dead.contains(cpu));
        let missing = keys(&online).filter(|key| !self.sources.contains_key(key));
        let missing: Vec<Key> = missing.collect();
        for (kind, cpu) in &missing {
            let id = self.ids.as_ref().and_then(|ids| ids.get(kind)).copied();
            let id = id.ok_or_else(|| {
                Unavailable(format!(
                    "processor {cpu} came later, or back; restart wslnetd to have it watched"
                ))
            })?;
            let source = open::open(*kind, id, *cpu).and_then(Source::new);
            let source =
                source.map_err(|error| Unavailable::because("a tracepoint cannot be opened", &error))?;
            self.sources.insert((*kind, *cpu), source);
        }
        Ok(!missing.is_empty())
    }

    /// The processes that made a socket listen, or closed one that did, since this was last asked, each once; the latest of each processor
    /// first. Not all of them, if they are many; and none of other distros.
    pub fn makers(&mut self) -> Vec<i32> {
        let listeners = self
            .sources
            .iter_mut()
            .filter(|((kind, _), _)| *kind == Kind::Listeners);
        in_turn(listeners.map(|(_, source)| source.ring.makers()))
    }

    /// Gives up one that is of no use any more.
    pub fn forget(&mut self, key: Key) {
        self.sources.remove(&key);
    }

    /// How many processors are covered.
    pub fn cpus(&self) -> usize {
        self.sources
            .keys()
            .filter(|(kind, _)| *kind == Kind::Listeners)
            .count()
    }
}

/// What is in these lists, each once: the first of each list, then the second of each, and so on. So what is many in one displaces
/// nothing of another one.
fn in_turn(lists: impl Iterator<Item = Vec<i32>>) -> Vec<i32> {
    let mut all: Vec<(usize, i32)> = lists.flat_map(|list| list.into_iter().enumerate()).collect();
    all.sort_by_key(|(place, _)| *place);
    let mut seen = BTreeSet::new();
    let all = all.into_iter().map(|(_, maker)| maker);
    all.filter(|maker| seen.insert(*maker)).collect()
}

/// All tracepoints on these processors.
fn keys(cpus: &BTreeSet<u32>) -> impl Iterator<Item = Key> {
    cpus.iter().flat_map(|cpu| Kind::ALL.map(|kind| (kind, *cpu)))
}

#[cfg(test)]
mod tests;
