//! The sleep in which the kernel's events are waited for.
//!
//! They are waited for by poll(2) and not by epoll(7). That there was an event is told once, to whoever asks first, and epoll asks
//! already when a descriptor is put into it or armed again, and keeps the answer to itself when it asks once more before it tells. So what
//! came while nobody waited would be lost. It would spare little: there are four descriptors for each processor.

use std::io;
use std::mem::take;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::{Wake, WakeUpView};
use crate::listeners::bell::{Bell, timeout};
use crate::listeners::pace::{Pace, Told};
use crate::listeners::tracepoint::{Key, Kind, Tracepoints, Unavailable};

/// How often processors that came or went are looked for, at most.
const CPUS: Duration = Duration::from_secs(10);

/// Looks as soon as the kernel tells of something, and now and then.
#[derive(Debug)]
pub(super) struct Rhythm {
    pace: Pace,
    events: Result<Tracepoints, Unavailable>,
    /// A reason to look that came together with something else that was told first.
    is_due: bool,
    cpus_followed: Instant,
    /// Whether that is not to wait.
    cpus_due: bool,
    has_udp: bool,
}

impl Rhythm {
    /// By these events, or without.
    pub(super) fn new(events: Result<Tracepoints, Unavailable>, now: Instant) -> Self {
        let mut rhythm = Self {
            pace: Pace::new(Told::Nothing, now),
            events,
            is_due: false,
            cpus_followed: now,
            cpus_due: false,
            has_udp: false,
        };
        rhythm.set_pace();
        rhythm
    }

    /// How changes are learnt of.
    pub(super) fn view(&self) -> WakeUpView {
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

    /// Whether there are events.
    pub(super) fn has_events(&self) -> bool {
        self.events.is_ok()
    }

    /// See [`super::WakeUp::listening`].
    pub(super) fn listening(&mut self) -> Vec<i32> {
        self.events.as_mut().map(Tracepoints::makers).unwrap_or_default()
    }

    /// See [`super::WakeUp::look_for_udp`].
    pub(super) fn look_for_udp(&mut self, has_udp: bool) {
        self.has_udp = has_udp;
        self.set_pace();
    }

    /// See [`super::WakeUp::looked`].
    pub(super) fn looked(&mut self, start: Instant, end: Instant, found_change: bool) {
        self.pace.looked(start, end, found_change);
    }

    fn set_pace(&mut self) {
        self.pace.set_told(match (&self.events, self.has_udp) {
            (Ok(_), false) => Told::Everything,
            (Ok(_), true) => Told::Partly,
            (Err(_), _) => Told::Nothing,
        });
    }

    /// See [`super::WakeUp::sleep`].
    pub(super) fn sleep(&mut self, bell: &Bell, limit: Option<Instant>, processes: bool) -> Wake {
        if self.follow_cpus() {
            // Whatever was missed by then, processes too.
            self.is_due = true;
            return Wake::Processes;
        }
        // Events that come now end the next wait at once.
        let rest = self.pace.not_before().saturating_duration_since(Instant::now());
        if !rest.is_zero()
            && let Some(wake) = bell.rung_within(rest)
        {
            return wake;
        }
        if take(&mut self.is_due) {
            return Wake::Due;
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
        let told = match self.poll(bell, pause, processes) {
            Ok(told) => told,
            Err(Errno::EINTR) => return Ok(Wake::Due),
            Err(errno) => return Err(errno.into()),
        };
        if told.bell && bell.heard() == Wake::Stop {
            return Ok(Wake::Stop);
        }
        for key in told.lost {
            self.lose(key);
        }
        if told.listeners {
            self.pace.event(Instant::now());
        }
        if told.processes {
            self.is_due = told.bell || told.listeners;
            return Ok(Wake::Processes);
        }
        Ok(Wake::Due)
    }

    /// One poll(2) takes everything that there is to tell. Of processes the kernel goes on to keep it while nobody asks.
    fn poll(&self, bell: &Bell, pause: Duration, processes: bool) -> nix::Result<Heard> {
        let events = self.events.iter().flat_map(Tracepoints::fds);
        let wanted = events.filter(|((kind, _), _)| processes || *kind == Kind::Listeners);
        let mut keys = Vec::new();
        let mut polled = vec![PollFd::new(bell.fd(), PollFlags::POLLIN)];
        for (key, fd) in wanted {
            keys.push(key);
            polled.push(PollFd::new(fd, PollFlags::POLLIN));
        }
        poll(&mut polled, timeout(pause))?;

        let mut heard = Heard::default();
        let mut told = polled.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        heard.bell = told.next().is_some_and(|flags| !flags.is_empty());
        for (key, flags) in keys.into_iter().zip(told).filter(|(_, flags)| !flags.is_empty()) {
            match key {
                (Kind::Listeners, _) => heard.listeners = true,
                (Kind::Fork | Kind::Exec | Kind::Exit, _) => heard.processes = true,
            }
            if flags != PollFlags::POLLIN {
                heard.lost.push(key);
            }
        }
        Ok(heard)
    }

    /// One that is hung up would wake us up for ever. It is opened again at once, where that is allowed.
    fn lose(&mut self, key: Key) {
        if let Ok(events) = &mut self.events {
            events.forget(key);
        }
        self.cpus_due = true;
    }

    /// Follows processors that come and go, now and then. Says whether there is one of which something may have been missed.
    fn follow_cpus(&mut self) -> bool {
        let now = Instant::now();
        let Ok(events) = &mut self.events else {
            return false;
        };
        let is_due = now.saturating_duration_since(self.cpus_followed) >= CPUS;
        if !is_due && !self.cpus_due {
            return false;
        }
        (self.cpus_followed, self.cpus_due) = (now, false);
        match events.follow_cpus() {
            Ok(has_new) => has_new,
            Err(reason) => {
                self.give_up(reason);
                true
            }
        }
    }

    /// Goes on without events, for good: what failed once would fail often.
    fn give_up(&mut self, reason: Unavailable) {
        tracing::warn!(%reason, "listeners are looked for ten times a second from now on");
        self.events = Err(reason);
        self.set_pace();
    }
}

/// What one poll(2) told.
#[derive(Debug, Default)]
struct Heard {
    bell: bool,
    listeners: bool,
    processes: bool,
    /// What is of no use any more.
    lost: Vec<Key>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;
    use crate::listeners::bell::bell;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_ring_is_heard_also_while_looks_have_to_rest() {
        let (ringer, bell) = bell().unwrap();
        let start = Instant::now();
        let none = Unavailable::because("none", &io::ErrorKind::Unsupported.into());
        let mut rhythm = Rhythm::new(Err(none), start);
        // Without this it would look often all the same.
        rhythm.pace.set_told(Told::Everything);
        rhythm.looked(start, start + Duration::from_secs(60), false);
        assert!(rhythm.pace.not_before() > Instant::now());

        ringer.ring();
        let wake = rhythm.sleep(&bell, Some(start + LONG), true);

        assert_eq!(wake, Wake::Due);
        assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
    }
}
