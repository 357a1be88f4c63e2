//! How many events there may be: some at once, and then one now and again. Pure.

use std::time::Duration;

/// How many may come at once.
const BURST: u32 = 100;
/// After how long another one may come.
const REFILL: Duration = Duration::from_secs(6);

/// What became of events so far. Time is what has passed since any moment of the caller's choice.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    refilled: Duration,
    left_out: u64,
}

impl Budget {
    /// A full one.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            left: BURST,
            refilled: now,
            left_out: 0,
        }
    }

    /// Whether an event may go out now; if so, how many before it could not.
    pub(super) fn take(&mut self, now: Duration) -> Option<u64> {
        let passed = now.saturating_sub(self.refilled);
        let more = u32::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(BURST);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(BURST);
            self.refilled = if self.left == BURST {
                now
            } else {
                self.refilled + REFILL * more
            };
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut budget = Budget::new(Duration::ZERO);
        for _ in 0..BURST {
            assert_eq!(budget.take(Duration::ZERO), Some(0));
        }
        assert_eq!(budget.take(Duration::ZERO), None);
        assert_eq!(budget.take(REFILL / 2), None);

        assert_eq!(budget.take(REFILL), Some(2));
        assert_eq!(budget.take(REFILL), None);
    }

    #[test]
    fn a_quiet_time_fills_it_up_and_no_further() {
        let mut budget = Budget::new(Duration::ZERO);
        for _ in 0..=BURST {
            let _ = budget.take(Duration::ZERO);
        }
        let later = REFILL * (BURST * 10);

        let passed = (0..BURST * 2).filter(|_| budget.take(later).is_some()).count();

        assert_eq!(passed, BURST as usize);
    }

    #[test]
    fn parts_of_the_time_are_not_lost() {
        let mut budget = Budget::new(Duration::ZERO);
        for _ in 0..BURST {
            let _ = budget.take(Duration::ZERO);
        }

        assert!(budget.take(REFILL * 3 / 2).is_some());
        assert!(budget.take(REFILL * 2).is_some(), "half of it had passed before");
    }
}
