//! When to look next: pure, and told what time it is.
//!
//! With events a look follows each at once, and two more a moment later, since an event may come before its socket does. Where
//! nothing tells of changes, looks come at a fixed pace, and faster for a moment after a change, as starting one thing often
//! starts others. A slow look follows in any case: nothing that was missed stays missed.
//!
//! Looks cost, and whoever makes events must not make the daemon spend the machine on them. So a few looks are free, and
//! beyond that the next one waits until they take no more than a part of the time ([`SHARE`]); and those that find nothing,
//! as events of other network namespaces do, come ever more rarely.

use std::time::{Duration, Instant};

/// How long after an event it may be that its socket appears: it is told before the port is chosen.
const ECHOES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];
/// The longest time between two looks.
const RECONCILE: Duration = Duration::from_secs(30);
/// The pace without events. A look costs about 80 us of a processor.
const POLL: Duration = Duration::from_millis(100);
/// The same for a moment after a change.
const FAST_POLL: Duration = Duration::from_millis(20);
const FAST_FOR: Duration = Duration::from_secs(2);

/// Looks take no more than this part of the time,
const SHARE: u32 = 4;
/// but for so much work, which is free after a quiet time.
const FREE: Duration = Duration::from_millis(50);
/// So many looks in a row may find nothing before the next one waits, twice as long each time, from this
const FREE_FRUITLESS: u32 = 8;
const FIRST_REST: Duration = Duration::from_millis(1);
/// up to this. A new listener waits no longer for anybody's events.
const LONGEST_REST: Duration = Duration::from_millis(100);
/// After so long without an event all is forgiven.
const FORGIVE: Duration = Duration::from_secs(1);

/// What tells that something may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing, so that looks have to come often.
    Nothing,
    /// Events, of some of what is looked at: the rest needs looks at the pace of [`Told::Nothing`].
    Partly,
    /// Events of everything.
    Everything,
}

/// The rhythm of looks.
#[derive(Debug)]
pub(crate) struct Pace {
    told: Told,
    /// The end of the last look.
    last: Instant,
    /// The last look that found a change.
    changed: Option<Instant>,
    /// The last event.
    event: Option<Instant>,
    /// Whether the next look follows an event.
    by_event: bool,
    /// How many looks in a row that followed an event found nothing.
    fruitless: u32,
    /// Work that is not paid for by time yet.
    debt: Duration,
}

impl Pace {
    /// The rhythm from now on.
    pub(crate) fn new(told: Told, now: Instant) -> Self {
        Self {
            told,
            last: now,
            changed: None,
            event: None,
            by_event: false,
            fruitless: 0,
            debt: Duration::ZERO,
        }
    }

    /// From now on this is told of changes.
    pub(crate) fn set_told(&mut self, told: Told) {
        self.told = told;
    }

    /// There was an event.
    pub(crate) fn event(&mut self, now: Instant) {
        let quiet = |event| now.saturating_duration_since(event) >= FORGIVE;
        if self.event.is_none_or(quiet) {
            self.fruitless = 0;
        }
        self.event = Some(now);
        self.by_event = true;
    }

    /// There was a look, from `start` to `end`.
    pub(crate) fn looked(&mut self, start: Instant, end: Instant, found_change: bool) {
        let idle = start.saturating_duration_since(self.last);
        self.debt = self.debt.saturating_sub(idle / SHARE);
        self.debt += end.saturating_duration_since(start);
        self.last = end;
        if found_change {
            self.changed = Some(end);
            self.fruitless = 0;
        } else if self.by_event {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        self.by_event = false;
    }

    /// When the next look may come, whatever happens.
    pub(crate) fn not_before(&self) -> Instant {
        let owed = self.debt.saturating_sub(FREE).saturating_mul(SHARE);
        let doublings = self.fruitless.checked_sub(FREE_FRUITLESS);
        let fruitless = doublings.map_or(Duration::ZERO, |doublings| {
            FIRST_REST.saturating_mul(2_u32.saturating_pow(doublings))
        });
        self.last + owed.max(fruitless).min(LONGEST_REST)
    }

    /// When the next look comes at the latest.
    pub(crate) fn due(&self) -> Instant {
        let pace = match self.told {
            Told::Everything => RECONCILE,
            Told::Nothing | Told::Partly => self.poll(),
        };
        let echoes = self
            .event
            .iter()
            .flat_map(|event| ECHOES.map(|echo| *event + echo));
        let next_echo = echoes.filter(|echo| *echo > self.last).min();
        let regular = self.last + pace;
        next_echo
            .map_or(regular, |echo| echo.min(regular))
            .max(self.not_before())
    }

    fn poll(&self) -> Duration {
        let is_recent = |changed| self.last.saturating_duration_since(changed) < FAST_FOR;
        if self.told == Told::Nothing && self.changed.is_some_and(is_recent) {
            FAST_POLL
        } else {
            POLL
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_micros(200);

    #[test]
    fn an_event_is_looked_after_at_once_and_again_when_its_socket_may_be_late() {
        let start = Instant::now();
        let mut pace = Pace::new(Told::Everything, start);
        assert_eq!(pace.due(), start + RECONCILE);

        let event = start + Duration::from_secs(10);
        pace.event(event);
        assert!(pace.not_before() <= event);
        pace.looked(event, event + LOOK, true);
        let echoes = [pace.due(), echo(&mut pace), echo(&mut pace)];

        assert_eq!(echoes[0], event + ECHOES[0]);
        assert_eq!(echoes[1], event + ECHOES[1]);
        assert_eq!(echoes[2], event + ECHOES[1] + LOOK + RECONCILE);
    }

    #[test]
    fn without_events_looks_are_frequent_and_more_so_after_a_change() {
        let start = Instant::now();
        let mut pace = Pace::new(Told::Nothing, start);
        assert_eq!(pace.due(), start + POLL);

        pace.looked(start, start, true);
        assert_eq!(pace.due(), start + FAST_POLL);
        let later = start + FAST_FOR;
        pace.looked(later, later, false);
        assert_eq!(pace.due(), later + POLL);
    }

    #[test]
    fn what_no_event_tells_of_is_looked_for_all_the_time() {
        let start = Instant::now();
        let mut pace = Pace::new(Told::Everything, start);

        pace.set_told(Told::Partly);

        assert_eq!(pace.due(), start + POLL);
    }

    #[test]
    fn events_that_lead_to_nothing_cause_ever_fewer_looks_and_are_forgiven() {
        let mut now = Instant::now();
        let mut pace = Pace::new(Told::Everything, now);
        let mut looks = 0;
        let end = now + Duration::from_secs(10);

        while now < end {
            pace.event(now);
            pace.looked(now, now + LOOK, false);
            looks += 1;
            now = (now + LOOK).max(pace.not_before());
        }
        assert!((100..120).contains(&looks), "{looks}");

        let later = now + FORGIVE * 2;
        pace.event(later);
        pace.looked(later, later + LOOK, false);
        assert_eq!(pace.not_before(), later + LOOK);
    }

    #[test]
    fn a_change_among_events_of_others_ends_the_wait() {
        let mut now = Instant::now();
        let mut pace = Pace::new(Told::Everything, now);
        for _ in 0..20 {
            pace.event(now);
            pace.looked(now, now, false);
            now += FIRST_REST;
        }
        assert!(pace.not_before() > now);

        pace.event(now);
        pace.looked(now, now, true);

        assert_eq!(pace.not_before(), now);
    }

    #[test]
    fn a_storm_of_changes_takes_its_part_of_the_time_and_no_more() {
        let took = Duration::from_millis(10);
        let start = Instant::now();
        let mut now = start;
        let mut pace = Pace::new(Told::Everything, now);
        let mut worked = Duration::ZERO;

        while now < start + Duration::from_secs(10) {
            pace.event(now);
            pace.looked(now, now + took, true);
            worked += took;
            now = (now + took).max(pace.not_before());
        }

        let share = worked.as_secs_f64() / (now - start).as_secs_f64();
        assert!((0.15..0.27).contains(&share), "{share}");
    }

    /// Looks when that is due; when the next look is.
    fn echo(pace: &mut Pace) -> Instant {
        let now = pace.due();
        pace.looked(now, now + LOOK, false);
        pace.due()
    }
}
