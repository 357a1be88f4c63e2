//! Keeps a flapping listener from flapping on Windows. Pure: it is told what listens and what time it is.
//!
//! The first sight of a listener counts at once, and so does a service that somebody restarts a few times. A port that
//! came five times within ten seconds has to wait when it comes again, one second at first and twice as long each time,
//! up to a minute. That it went is passed on without delay, always.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::listeners::TransportPort;

/// So many arrivals within [`WINDOW`] are free; the next one is flapping.
const ARRIVALS: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// After so long without a change everything is forgiven.
const FORGET: Duration = Duration::from_secs(60);

/// A port and the user who listens there: one user's flapping is not another's.
pub type Door = (TransportPort, u32);

/// The memory of what came and went.
#[derive(Debug, Default)]
pub struct Damper {
    doors: BTreeMap<Door, History>,
}

#[derive(Debug, Default)]
struct History {
    present: bool,
    arrivals: VecDeque<Instant>,
    last_wait: Option<Duration>,
    shown_from: Option<Instant>,
}

/// Which ports must wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The ports with those who make them flap, and when each may be shown if it is still there.
    pub until: BTreeMap<Door, Instant>,
}

impl Held {
    /// Whether a port must wait on which these users listen.
    pub fn holds(&self, port: TransportPort, mut users: impl Iterator<Item = u32>) -> bool {
        users.any(|user| self.until.contains_key(&(port, user)))
    }

    /// When the first of them may be shown.
    pub fn next(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }
}

impl Damper {
    /// Takes note of the ports that listen now and tells which of them must wait.
    pub fn look(&mut self, listening: &BTreeSet<Door>, now: Instant) -> Held {
        for door in listening {
            self.doors.entry(*door).or_default();
        }
        let mut held = Held::default();
        self.doors.retain(|door, history| {
            history.note(listening.contains(door), now);
            if let Some(until) = history.shown_from.filter(|until| history.present && *until > now) {
                held.until.insert(*door, until);
            }
            history.present || history.arrivals.back().is_some_and(|last| now - *last < FORGET)
        });
        held
    }
}

impl History {
    fn note(&mut self, present: bool, now: Instant) {
        let age = |arrival: &Instant| now.saturating_duration_since(*arrival);
        if self.arrivals.back().is_some_and(|last| age(last) >= FORGET) {
            *self = Self {
                present: self.present,
                ..Self::default()
            };
        }
        if present == self.present {
            return;
        }
        self.present = present;
        if !present {
            return;
        }
        while self.arrivals.front().is_some_and(|first| age(first) > WINDOW) {
            self.arrivals.pop_front();
        }
        if self.arrivals.len() >= ARRIVALS {
            let wait = self
                .last_wait
                .map_or(FIRST_WAIT, |last| (last * 2).min(LONGEST_WAIT));
            self.last_wait = Some(wait);
            self.shown_from = Some(now + wait);
            // Older ones than these say nothing new.
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use wslnet_protocol::Protocol;

    const STEP: Duration = Duration::from_millis(100);
    const ANN: u32 = 1000;
    const BOB: u32 = 1001;

    #[test]
    fn a_new_listener_is_shown_at_once() {
        let mut damper = Damper::default();

        assert_eq!(
            damper.look(&BTreeSet::from([(tcp(8000), ANN)]), Instant::now()),
            Held::default()
        );
    }

    #[test]
    fn a_few_restarts_are_no_flapping() {
        let (mut damper, start) = (Damper::default(), Instant::now());

        let held = toggle(&mut damper, start, 9);

        assert_eq!(held, Held::default());
    }

    #[test]
    fn a_flapping_port_waits_longer_each_time_and_never_more_than_a_minute() {
        let (mut damper, start) = (Damper::default(), Instant::now());
        let mut waits = Vec::new();
        let mut now = start;
        toggle(&mut damper, now, 10);
        now += STEP * 10;
        for _ in 0..9 {
            let held = damper.look(&BTreeSet::from([(tcp(8000), ANN)]), now);
            waits.push(held.next().map(|until| (until - now).as_secs()));
            damper.look(&BTreeSet::new(), now + STEP);
            now += STEP * 2;
        }

        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60].map(Some));
    }

    #[test]
    fn a_port_that_holds_still_is_shown_when_its_time_has_come() {
        let (mut damper, start) = (Damper::default(), Instant::now());
        let held = toggle(&mut damper, start, 11);
        let until = held.next();
        assert!(until.is_some());

        let later = damper.look(
            &BTreeSet::from([(tcp(8000), ANN)]),
            start + Duration::from_secs(5),
        );

        assert_eq!(later, Held::default());
    }

    #[test]
    fn other_ports_do_not_wait() {
        let (mut damper, start) = (Damper::default(), Instant::now());
        toggle(&mut damper, start, 11);

        let held = damper.look(
            &BTreeSet::from([(tcp(8000), ANN), (tcp(8001), ANN)]),
            start + STEP * 11,
        );

        assert!(held.holds(tcp(8000), [ANN].into_iter()));
        assert!(!held.holds(tcp(8001), [ANN].into_iter()));
        assert!(!held.holds(tcp(8000), [BOB].into_iter()));
    }

    #[test]
    fn another_user_on_the_same_port_does_not_wait() {
        let (mut damper, start) = (Damper::default(), Instant::now());
        toggle(&mut damper, start, 10);

        let held = damper.look(&BTreeSet::from([(tcp(8000), BOB)]), start + STEP * 11);

        assert_eq!(held, Held::default());
    }

    #[test]
    fn a_quiet_minute_forgives_and_forgets() {
        let (mut damper, start) = (Damper::default(), Instant::now());
        toggle(&mut damper, start, 11);
        let later = start + FORGET * 2;
        damper.look(&BTreeSet::new(), later);

        let held = damper.look(&BTreeSet::new(), later + FORGET * 2);

        assert_eq!(held, Held::default());
        assert!(
            damper.doors.is_empty(),
            "nothing is kept for ports that are long gone"
        );
    }

    #[test]
    fn the_same_port_of_another_protocol_does_not_wait() {
        let (mut damper, start) = (Damper::default(), Instant::now());
        toggle(&mut damper, start, 11);
        let udp = TransportPort {
            protocol: Protocol::Udp,
            number: 8000,
        };

        let held = damper.look(&BTreeSet::from([(udp, ANN)]), start + STEP * 11);

        assert_eq!(held, Held::default());
    }

    fn tcp(number: u16) -> TransportPort {
        TransportPort {
            protocol: Protocol::Tcp,
            number,
        }
    }

    /// Port 8000 comes and goes `changes` times, a step apart, beginning with coming.
    fn toggle(damper: &mut Damper, start: Instant, changes: u32) -> Held {
        let mut held = Held::default();
        for change in 0..changes {
            let listening = if change % 2 == 0 {
                BTreeSet::from([(tcp(8000), ANN)])
            } else {
                BTreeSet::new()
            };
            held = damper.look(&listening, start + STEP * change);
        }
        held
    }
}
