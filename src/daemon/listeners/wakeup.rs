//! The sleep between two looks. A wake-up is only a hint: the scan that follows is the truth.
//!
//! The observer's thread sleeps in [`WakeUp::sleep`]. Whoever owns the observer rings ([`Ringer`]), and ends the thread by
//! dropping the ringer.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::pace::{Pace, Told};
use super::tracepoint::{Kind as Event, Tracepoints, Unavailable};

/// Why the sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// It is time to look.
    Due,
    /// Processes came, went, or run another program. Nothing tells of it again before somebody wants to know.
    Processes,
    /// The ringer is gone: time to stop.
    Stop,
}

/// How often processors that came or went are looked for, at most.
const CPUS: Duration = Duration::from_secs(10);
/// How many events are taken out of the kernel at once; more than one says nothing more.
const BATCH: usize = 16;
/// What the bell is called among the processors whose events are waited for,
const BELL: u64 = u64::MAX;
/// and all that tells of processes.
const PROCESSES: u64 = u64::MAX - 1;

/// What ends a sleep, and when.
#[derive(Debug)]
pub struct WakeUp(Kind);

#[derive(Debug)]
enum Kind {
    /// A pause of always the same length.
    Fixed(Duration),
    /// Events where the kernel gives them, else a rhythm.
    Rhythm(Box<Rhythm>),
}

#[derive(Debug)]
struct Rhythm {
    pace: Pace,
    events: Result<Tracepoints, Unavailable>,
    /// Whether changes of processes are waited for.
    armed: bool,
    /// Waits for the events and the bell; made at the first sleep.
    waiter: Option<Waiter>,
    cpus_followed: Instant,
    /// Whether that is not to wait.
    cpus_due: bool,
    has_udp: bool,
}

#[derive(Debug)]
struct Waiter {
    all: Epoll,
    /// What tells of processes, on every processor: one of them waking us up is enough, so they stand in `all` as one.
    processes: Epoll,
}

/// How the daemon learns of changes, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WakeUpView {
    /// Whether the kernel tells of them.
    pub events: bool,
    /// In a few words.
    pub text: String,
}

impl WakeUp {
    /// The kernel's events where they can be had, and frequent looks otherwise.
    pub fn best() -> Self {
        let events = Tracepoints::open();
        match &events {
            Ok(events) => tracing::info!(processors = events.cpus(), "the kernel tells of new listeners"),
            Err(reason) => tracing::warn!(
                %reason,
                "the kernel does not tell of new listeners; they are looked for ten times a second"
            ),
        }
        let now = Instant::now();
        let mut rhythm = Rhythm {
            pace: Pace::new(Told::Nothing, now),
            events,
            armed: false,
            waiter: None,
            cpus_followed: now,
            cpus_due: false,
            has_udp: false,
        };
        rhythm.set_pace();
        Self(Kind::Rhythm(Box::new(rhythm)))
    }

    /// A pause of always the same length.
    pub fn every(pause: Duration) -> Self {
        Self(Kind::Fixed(pause))
    }

    /// How changes are learnt of.
    pub fn view(&self) -> WakeUpView {
        match &self.0 {
            Kind::Fixed(pause) => WakeUpView {
                events: false,
                text: format!("looks every {pause:?}"),
            },
            Kind::Rhythm(rhythm) => rhythm.view(),
        }
    }

    /// From now on UDP sockets are looked for, too, or not any more. No event tells of these.
    pub fn look_for_udp(&mut self, has_udp: bool) {
        if let Kind::Rhythm(rhythm) = &mut self.0 {
            rhythm.has_udp = has_udp;
            rhythm.set_pace();
        }
    }

    /// There was a look, from `start` to `end`.
    pub fn looked(&mut self, start: Instant, end: Instant, found_change: bool) {
        if let Kind::Rhythm(rhythm) = &mut self.0 {
            rhythm.pace.looked(start, end, found_change);
        }
    }

    /// Whether the kernel tells of processes, too.
    pub fn tells_of_processes(&self) -> bool {
        matches!(&self.0, Kind::Rhythm(rhythm) if rhythm.events.is_ok())
    }

    /// Sleeps until there is a reason to look; until `limit` at the latest, if somebody needs a look then. `processes` says
    /// whether it is of interest that processes changed.
    pub fn sleep(&mut self, bell: &Bell, limit: Option<Instant>, processes: bool) -> Wake {
        match &mut self.0 {
            Kind::Fixed(pause) => bell.wait(*pause),
            Kind::Rhythm(rhythm) => rhythm.sleep(bell, limit, processes),
        }
    }
}

impl Rhythm {
    fn view(&self) -> WakeUpView {
        match &self.events {
            Ok(events) => WakeUpView {
                events: true,
                text: format!("events of the kernel ({} processors)", events.cpus()),
            },
            Err(reason) => WakeUpView {
                events: false,
                text: format!("looks ten times a second: {reason}"),
            },
        }
    }

    fn set_pace(&mut self) {
        self.pace.set_told(match (&self.events, self.has_udp) {
            (Ok(_), false) => Told::Everything,
            (Ok(_), true) => Told::Partly,
            (Err(_), _) => Told::Nothing,
        });
    }

    fn sleep(&mut self, bell: &Bell, limit: Option<Instant>, processes: bool) -> Wake {
        self.follow_cpus();
        // Events that come now end the next wait at once.
        let rest = self.pace.not_before().saturating_duration_since(Instant::now());
        if !rest.is_zero() && bell.wait(rest) == Wake::Stop {
            return Wake::Stop;
        }
        let due = self.pace.due();
        let due = limit.map_or(due, |limit| due.min(limit));
        let pause = due.saturating_duration_since(Instant::now());
        if self.events.is_err() {
            return bell.wait(pause);
        }
        match self.wait_for_event(bell, pause, processes) {
            Ok(wake) => wake,
            Err(error) => {
                self.give_up(Unavailable::because("events cannot be waited for", &error));
                Wake::Due
            }
        }
    }

    fn wait_for_event(&mut self, bell: &Bell, pause: Duration, processes: bool) -> io::Result<Wake> {
        let waiter = match self.waiter.take() {
            Some(waiter) => waiter,
            None => self.watch_all(bell)?,
        };
        if processes && !self.armed {
            let mut once = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, PROCESSES);
            waiter.all.modify(&waiter.processes.0, &mut once)?;
            self.armed = true;
        }
        let mut events = [EpollEvent::empty(); BATCH];
        let waited = waiter.all.wait(&mut events, timeout(pause));
        self.waiter = Some(waiter);
        let count = match waited {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut wake = if count == 0 { Wake::Due } else { Wake::Processes };
        for event in events.iter().take(count) {
            match event.data() {
                BELL if bell.heard() == Wake::Stop => return Ok(Wake::Stop),
                BELL => wake = Wake::Due,
                PROCESSES => self.armed = false,
                cpu => {
                    if event
                        .events()
                        .intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR)
                    {
                        self.lose(cpu);
                    }
                    self.pace.event(Instant::now());
                    wake = Wake::Due;
                }
            }
        }
        Ok(wake)
    }

    fn watch_all(&mut self, bell: &Bell) -> io::Result<Waiter> {
        let all = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let processes = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        all.add(&bell.0.rung, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        for ((kind, cpu), event) in self.events.iter().flat_map(Tracepoints::fds) {
            let waiter = match kind {
                Event::Listeners => &all,
                Event::Fork | Event::Exec | Event::Exit => &processes,
            };
            waiter.add(event, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(cpu)))?;
        }
        // Before anybody wants to know of them.
        all.add(&processes.0, EpollEvent::new(EpollFlags::EPOLLONESHOT, PROCESSES))?;
        self.armed = false;
        Ok(Waiter { all, processes })
    }

    /// One that is hung up would wake us up for ever. It is opened again with the next look at the processors, where that is
    /// allowed.
    fn lose(&mut self, cpu: u64) {
        if let (Ok(events), Ok(cpu)) = (&mut self.events, u32::try_from(cpu)) {
            events.forget((Event::Listeners, cpu));
        }
        self.waiter = None;
        self.cpus_due = true;
    }

    /// Follows processors that come and go, now and then.
    fn follow_cpus(&mut self) {
        let now = Instant::now();
        let Ok(events) = &mut self.events else { return };
        let is_due = now.saturating_duration_since(self.cpus_followed) >= CPUS;
        if !is_due && !self.cpus_due {
            return;
        }
        (self.cpus_followed, self.cpus_due) = (now, false);
        let before = events.cpus();
        match events.follow_cpus() {
            Ok(false) if events.cpus() == before => {}
            // All are put together anew at the next wait.
            Ok(_) => self.waiter = None,
            Err(reason) => self.give_up(reason),
        }
    }

    /// Goes on without events, for good: what failed once would fail often.
    fn give_up(&mut self, reason: Unavailable) {
        tracing::warn!(%reason, "listeners are looked for ten times a second from now on");
        self.events = Err(reason);
        self.waiter = None;
        self.set_pace();
    }
}

/// The sleeping side of a bell.
#[derive(Debug)]
pub struct Bell(Arc<Shared>);

/// The other side of a [`Bell`]. Dropping it rings, once and for ever.
#[derive(Debug)]
pub struct Ringer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    rung: EventFd,
    stopped: AtomicBool,
}

/// Makes a bell.
///
/// # Errors
/// When the system has no descriptor left.
pub fn bell() -> io::Result<(Ringer, Bell)> {
    let shared = Arc::new(Shared {
        rung: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
        stopped: AtomicBool::new(false),
    });
    Ok((Ringer(Arc::clone(&shared)), Bell(shared)))
}

impl Ringer {
    /// Ends the present sleep, or the next one.
    pub fn ring(&self) {
        // It fails when it was rung 2^64 times and nobody has woken up.
        if let Err(errno) = self.0.rung.write(1) {
            tracing::debug!(%errno, "the bell was rung already");
        }
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Release);
        self.ring();
    }
}

impl Bell {
    /// Sleeps for `limit`, or until it is rung (both [`Wake::Due`]), or the ringer is gone.
    pub fn wait(&self, limit: Duration) -> Wake {
        let mut bell = [PollFd::new(self.0.rung.as_fd(), PollFlags::POLLIN)];
        match poll(&mut bell, timeout(limit)) {
            Ok(0) | Err(Errno::EINTR) => Wake::Due,
            Ok(_) => self.heard(),
            Err(errno) => {
                tracing::warn!(%errno, "the bell cannot be waited for");
                std::thread::sleep(limit);
                self.heard()
            }
        }
    }

    fn heard(&self) -> Wake {
        if self.0.stopped.load(Ordering::Acquire) {
            return Wake::Stop;
        }
        if let Err(errno) = self.0.rung.read() {
            tracing::trace!(%errno, "the bell was not rung");
        }
        Wake::Due
    }
}

/// Rounded up: woken up too early, the caller would find nothing due, and turn in circles until it is.
fn timeout(limit: Duration) -> PollTimeout {
    PollTimeout::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_pause_is_over_after_its_time() {
        let (_ringer, bell) = bell().unwrap();
        let start = Instant::now();

        let wake = WakeUp::every(Duration::from_millis(20)).sleep(&bell, None, false);

        assert_eq!(wake, Wake::Due);
        assert!(start.elapsed() >= Duration::from_millis(19));
    }

    #[test]
    fn a_ring_ends_one_sleep_whether_it_comes_before_or_during_it() {
        let (ringer, bell) = bell().unwrap();
        let start = Instant::now();

        ringer.ring();
        let first = bell.wait(LONG);
        let ring = thread::spawn(move || {
            ringer.ring();
            ringer
        });
        let second = bell.wait(LONG);

        assert_eq!([first, second], [Wake::Due; 2]);
        assert!(start.elapsed() < LONG);
        let ringer = ring.join().unwrap();
        let start = Instant::now();
        assert_eq!(bell.wait(Duration::from_millis(20)), Wake::Due);
        assert!(
            start.elapsed() >= Duration::from_millis(19),
            "a ring is heard once"
        );
        drop(ringer);
    }

    #[test]
    fn a_dropped_ringer_ends_the_sleep_and_every_later_one() {
        let (ringer, bell) = bell().unwrap();
        let start = Instant::now();
        let ring = thread::spawn(move || drop(ringer));

        let wakes = [
            bell.wait(LONG),
            bell.wait(LONG),
            WakeUp::every(LONG).sleep(&bell, None, false),
        ];

        assert_eq!(wakes, [Wake::Stop; 3]);
        assert!(start.elapsed() < LONG);
        assert!(ring.join().is_ok());
    }
}
