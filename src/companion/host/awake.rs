//! Time that stands still while the machine sleeps: the only clock that leases and penalties may use.
//!
//! `std::time::Instant` will not do: on Windows it counts the time asleep (rust-lang/rust#79462), so that a laptop's
//! lid would end every lease at once. Wall-clock time will not do either: it jumps.

use std::time::Duration;

use super::platform;

/// A moment, as the time awake since an arbitrary start (usually the boot of the machine).
///
/// Moments of different machines, or from before and after a reboot, have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Awake(Duration);

/// The present moment. Windows counts it in ticks of the system timer (0.5 to 15.6 ms), Linux in nanoseconds.
pub fn awake() -> Awake {
    Awake(platform::time_awake())
}

impl Awake {
    /// The moment this long after the start: for code that takes time as an argument, and its tests.
    pub const fn after_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The moment so much later, unless it lies beyond what a [`Duration`] holds.
    pub fn checked_add(self, later: Duration) -> Option<Self> {
        self.0.checked_add(later).map(Self)
    }

    /// The moment so much earlier, unless that was before the start.
    pub fn checked_sub(self, earlier: Duration) -> Option<Self> {
        self.0.checked_sub(earlier).map(Self)
    }

    /// The time awake since `earlier`, and zero when `earlier` is the later one.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_clock_goes_forward_at_the_pace_of_time() {
        let start = awake();
        let mut last = start;

        // The comparison clock is right here: a test that the machine sleeps through proves nothing anyway.
        let real = std::time::Instant::now();
        while real.elapsed() < Duration::from_millis(200) {
            let now = awake();
            assert!(now >= last);
            last = now;
            std::thread::yield_now();
        }
        let real = real.elapsed();

        let seen = last.saturating_since(start);
        // Two ticks of the coarsest Windows timer.
        let tolerance = Duration::from_millis(32);
        assert!(seen + tolerance >= Duration::from_millis(200), "{seen:?}");
        assert!(seen <= real + tolerance, "{seen:?} of {real:?}");
    }

    #[test]
    fn arithmetic_never_leaves_the_range() {
        let moment = Awake::after_start(SECOND);

        assert_eq!(moment.checked_add(SECOND), Some(Awake::after_start(SECOND * 2)));
        assert_eq!(moment.checked_add(Duration::MAX), None);
        assert_eq!(
            moment.checked_sub(SECOND),
            Some(Awake::after_start(Duration::ZERO))
        );
        assert_eq!(moment.checked_sub(SECOND * 2), None);
    }

    #[test]
    fn differences_know_their_direction() {
        let (early, late) = (Awake::after_start(SECOND), Awake::after_start(SECOND * 3));

        assert_eq!(late.saturating_since(early), SECOND * 2);
        assert_eq!(early.saturating_since(late), Duration::ZERO);
    }
}
