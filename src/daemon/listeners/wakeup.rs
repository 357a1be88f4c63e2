//! The sleep between two looks. A wake-up is only a hint: the scan that follows is the truth.
//!
//! The observer's thread sleeps in [`WakeUp::sleep`]. Whoever owns the observer rings ([`Ringer`](super::Ringer)), and ends
//! the thread by dropping the ringer.

mod rhythm;

use std::time::{Duration, Instant};

use self::rhythm::Rhythm;
use super::bell::Bell;
use super::tracepoint::Tracepoints;

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
        Self(Kind::Rhythm(Box::new(Rhythm::new(events, Instant::now()))))
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
            rhythm.look_for_udp(has_udp);
        }
    }

    /// There was a look, from `start` to `end`.
    pub fn looked(&mut self, start: Instant, end: Instant, found_change: bool) {
        if let Kind::Rhythm(rhythm) = &mut self.0 {
            rhythm.looked(start, end, found_change);
        }
    }

    /// Whether the kernel tells of processes, too.
    pub fn tells_of_processes(&self) -> bool {
        matches!(&self.0, Kind::Rhythm(rhythm) if rhythm.has_events())
    }

    /// The processes of which the kernel says that they made a socket listen, or closed one, since this was last asked: a hint, of which
    /// any part may be missing or wrong.
    pub fn listening(&mut self) -> Vec<i32> {
        match &mut self.0 {
            Kind::Fixed(_) => Vec::new(),
            Kind::Rhythm(rhythm) => rhythm.listening(),
        }
    }

    /// Sleeps until there is a reason to look; until `limit` at the latest, if somebody needs a look then. `processes` says
    /// whether it is of interest that processes changed. If they did while it was not, that is told when it is.
    pub fn sleep(&mut self, bell: &Bell, limit: Option<Instant>, processes: bool) -> Wake {
        match &mut self.0 {
            Kind::Fixed(pause) => bell.wait(*pause),
            Kind::Rhythm(rhythm) => rhythm.sleep(bell, limit, processes),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::super::bell::bell;
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_pause_is_over_after_its_time_or_when_the_ringer_is_gone() {
        let (ringer, bell) = bell().unwrap();
        let start = Instant::now();

        let wake = WakeUp::every(Duration::from_millis(20)).sleep(&bell, None, false);

        assert_eq!(wake, Wake::Due);
        assert!(start.elapsed() >= Duration::from_millis(19));
        drop(ringer);
        assert_eq!(WakeUp::every(LONG).sleep(&bell, None, false), Wake::Stop);
        assert!(start.elapsed() < LONG);
    }
}
