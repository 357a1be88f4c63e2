//! When to look for holders: pure, and told what time it is.
//!
//! Two kinds of looks are told apart. One into the *new* processes costs next to nothing and finds whoever inherits a descriptor, as a
//! forked process does. How often it comes depends on the socket ([`super::known`]), and it is left out while no process comes. One into *all*
//! processes costs what all their descriptors cost, so how often it comes depends on that ([`Walks`]).

use std::time::{Duration, Instant};

/// Up to which age (since the socket or its present holders were first seen) how long a look stays good enough.
pub(super) type Pauses = [(Duration, Duration)];

/// While nobody is known to serve the socket: a program that just started is about to turn up.
pub(super) const UNSETTLED: &Pauses = &[
    (Duration::from_millis(100), Duration::from_millis(100)),
    (Duration::from_millis(400), Duration::from_millis(300)),
    (Duration::from_millis(1400), Duration::from_secs(1)),
    (Duration::from_millis(4400), Duration::from_secs(3)),
];
/// While somebody serves it: servers start their workers soon after they listen.
pub(super) const OWNED: &Pauses = &[
    (Duration::from_secs(5), Duration::from_secs(1)),
    (Duration::from_secs(60), Duration::from_secs(3)),
];
/// After that, while only a manager holds the socket. The service that it starts must not go unnamed for long.
pub(super) const LENT: Duration = Duration::from_secs(3);
/// After that, for all others.
pub(super) const STEADY: Duration = Duration::from_secs(10);
/// At this age all processes are looked into once more: who is handed the descriptor is handed it soon. A socket that no process
/// holds is then looked for in the threads too.
pub(super) const SETTLED: Duration = Duration::from_millis(4400);
/// How often remembered holders are checked,
pub(super) const VERIFY: Duration = Duration::from_secs(1);
/// and where it is known that no process came, went, or runs another program. What is left is that one closed a descriptor.
pub(super) const VERIFY_QUIET: Duration = Duration::from_secs(30);

/// For how long a socket counts as that of the processes that were last known to hold it, if none does any more and the look for others does
/// not come to an end.
pub(super) const LOST: Duration = Duration::from_secs(10);

/// Looks through all that sockets without a known holder need take no more than this part of the time,
const NOW_SHARE: u32 = 4;
/// but for so much work, which is free after a quiet time;
const FREE: Duration = Duration::from_millis(50);
/// and they wait no longer than this.
const LONGEST_REST: Duration = Duration::from_millis(100);
/// Those that a socket needs whose most likely holders are known take this part of the time.
const SOON_SHARE: u32 = 100;
/// Those that nothing calls for: an old process may have been handed a descriptor. One in five thousand is the fiftieth part of a percent,
const RARE_SHARE: u32 = 5000;
/// but within these bounds.
const RARE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));
/// Looks into new processes: at most this part of the time, as one may have inherited very many descriptors,
const NEW_SHARE: u32 = 50;
/// Looks into all threads: at most this part of the time,
const THREADS_SHARE: u32 = 100;
/// After a look that failed.
const RETRY: Duration = Duration::from_secs(1);

/// How badly a look through all processes is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// There may be more holders than are known.
    Soon,
    /// No holder is known, and somebody may wait.
    Now,
}

/// The rhythm of looks through all processes.
#[derive(Debug)]
pub(super) struct Walks {
    /// What costs are multiplied by: 0 where the time is made up, and what is real must not count in it.
    pub(super) weight: u32,
    last: Option<Last>,
    /// Work that is not paid for by time yet.
    debt: Duration,
    /// When new processes may be looked into again.
    new_next: Option<Instant>,
    /// When all threads may be looked into again.
    threads_next: Option<Instant>,
}

/// The last look.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// When it was ordered.
    at: Instant,
    cost: Duration,
    has_failed: bool,
}

impl Default for Walks {
    fn default() -> Self {
        Self {
            weight: 1,
            last: None,
            debt: Duration::ZERO,
            new_next: None,
            threads_next: None,
        }
    }
}

impl Walks {
    /// There was a look, ordered at this moment. `cost` is `None` when it failed.
    pub(super) fn walked(&mut self, at: Instant, cost: Option<Duration>) {
        if let Some(last) = self.last {
            let idle = at.saturating_duration_since(last.at);
            self.debt = self.debt.saturating_sub(idle / NOW_SHARE);
        }
        let has_failed = cost.is_none();
        let cost = cost.unwrap_or_default().saturating_mul(self.weight);
        self.debt += cost;
        self.last = Some(Last { at, cost, has_failed });
    }

    /// When the next one comes at the earliest; `None` where that is at once. Without a need, that is when it comes.
    pub(super) fn next(&self, need: Option<Need>) -> Option<Instant> {
        let last = self.last?;
        let pause = match need {
            _ if last.has_failed => RETRY,
            Some(Need::Now) => {
                let owed = self.debt.saturating_sub(FREE).saturating_mul(NOW_SHARE);
                owed.min(LONGEST_REST)
            }
            Some(Need::Soon) => last.cost.saturating_mul(SOON_SHARE).min(RARE.0),
            None => last.cost.saturating_mul(RARE_SHARE).clamp(RARE.0, RARE.1),
        };
        Some(last.at + pause)
    }

    /// When new processes may be looked into again; `None` where that is at once.
    pub(super) fn next_for_new(&self) -> Option<Instant> {
        self.new_next
    }

    /// New processes were looked into.
    pub(super) fn looked_into_new(&mut self, at: Instant, cost: Duration) {
        let pause = cost.saturating_mul(self.weight).saturating_mul(NEW_SHARE);
        self.new_next = Some(at + pause.min(STEADY));
    }

    /// Whether the threads may be looked into with the next one.
    pub(super) fn may_look_into_threads(&self, now: Instant) -> bool {
        self.threads_next.is_none_or(|next| next <= now)
    }

    /// All threads were looked into.
    pub(super) fn looked_into_threads(&mut self, at: Instant, cost: Duration) {
        let pause = cost.saturating_mul(self.weight).saturating_mul(THREADS_SHARE);
        self.threads_next = Some(at + pause.max(STEADY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_nothing_calls_for_comes_the_more_rarely_the_more_it_costs() {
        let start = Instant::now();
        let next_after = |cost| {
            let mut walks = Walks::default();
            walks.walked(start, Some(cost));
            walks.next(None)
        };

        assert_eq!(Walks::default().next(None), None);
        assert_eq!(next_after(MS), Some(start + RARE.0));
        assert_eq!(next_after(20 * MS), Some(start + Duration::from_secs(100)));
        assert_eq!(next_after(400 * MS), Some(start + RARE.1));
    }

    #[test]
    fn who_has_no_holder_yet_waits_for_nothing_and_then_for_a_moment() {
        let start = Instant::now();
        let mut walks = Walks::default();
        let mut at = start;
        let mut worked = Duration::ZERO;
        for _ in 0..5 {
            assert!(walks.next(Some(Need::Now)).is_none_or(|next| next <= at));
            walks.walked(at, Some(10 * MS));
            at += 10 * MS;
        }
        while at < start + Duration::from_secs(60) {
            at = at.max(walks.next(Some(Need::Now)).unwrap_or(at));
            walks.walked(at, Some(10 * MS));
            worked += 10 * MS;
        }

        let share = worked.as_secs_f64() / (at - start).as_secs_f64();
        assert!((0.15..0.27).contains(&share), "{share}");
        walks.walked(at, Some(Duration::from_secs(2)));
        assert_eq!(walks.next(Some(Need::Now)), Some(at + LONGEST_REST));
    }

    #[test]
    fn who_has_one_waits_longer_and_a_failure_is_repeated_in_a_second() {
        let start = Instant::now();
        let mut walks = Walks::default();

        walks.walked(start, Some(5 * MS));
        assert_eq!(walks.next(Some(Need::Soon)), Some(start + 500 * MS));
        walks.walked(start, Some(Duration::from_secs(1)));
        assert_eq!(walks.next(Some(Need::Soon)), Some(start + RARE.0));
        walks.walked(start, None);
        assert_eq!(walks.next(Some(Need::Now)), Some(start + RETRY));
    }

    #[test]
    fn newcomers_with_many_descriptors_are_looked_into_for_a_fiftieth_of_the_time_and_not_too_late() {
        let start = Instant::now();
        let mut walks = Walks::default();
        assert_eq!(walks.next_for_new(), None);

        walks.looked_into_new(start, MS);
        assert_eq!(walks.next_for_new(), Some(start + 50 * MS));
        walks.looked_into_new(start, Duration::from_secs(2));
        assert_eq!(walks.next_for_new(), Some(start + STEADY));
    }

    #[test]
    fn threads_are_looked_into_for_a_hundredth_of_the_time() {
        let start = Instant::now();
        let mut walks = Walks::default();
        assert!(walks.may_look_into_threads(start));

        walks.looked_into_threads(start, MS);
        assert!(!walks.may_look_into_threads(start + STEADY - MS));
        assert!(walks.may_look_into_threads(start + STEADY));
        walks.looked_into_threads(start, 1000 * MS);
        assert!(!walks.may_look_into_threads(start + Duration::from_secs(99)));
    }
}
