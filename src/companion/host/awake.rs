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

/// Notices that the machine has slept: one clock has gone on and the other has stood still.
///
/// A power notification would come no sooner. A program that sleeps hears of it only once it runs again, and then it looks at the clocks
/// within a second, as the timers of Windows go on while it sleeps; and no form in which the companion runs needs a window or a registration for it.
#[derive(Debug)]
pub struct SleepWatch {
    asleep: Duration,
}

/// The least that counts as sleep. Both clocks go in steps, and are not read at the same moment.
const SLEEP: Duration = Duration::from_secs(1);

impl SleepWatch {
    /// Watches from now on.
    pub fn new() -> Self {
        Self {
            asleep: asleep_so_far(),
        }
    }

    /// How long the machine has slept since the last call, if it has.
    pub fn slept(&mut self) -> Option<Duration> {
        self.slept_by(asleep_so_far())
    }

    fn slept_by(&mut self, asleep: Duration) -> Option<Duration> {
        let slept = asleep.saturating_sub(self.asleep);
        let slept = (slept >= SLEEP).then_some(slept)?;
        self.asleep = asleep;
        Some(slept)
    }
}

impl Default for SleepWatch {
    fn default() -> Self {
        Self::new()
    }
}

fn asleep_so_far() -> Duration {
    // In this order, so that being held up between the two makes it less rather than more.
    let running = platform::time_running();
    running.saturating_sub(platform::time_awake())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
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
    fn each_sleep_is_noticed_once() {
        let mut watch = SleepWatch { asleep: SECOND * 60 };

        assert_eq!(watch.slept_by(SECOND * 60), None);
        assert_eq!(
            watch.slept_by(SECOND * 60 + SECOND / 2),
            None,
            "two ticks of a clock"
        );
        assert_eq!(watch.slept_by(SECOND * 100), Some(SECOND * 40));
        assert_eq!(watch.slept_by(SECOND * 100), None);
        assert_eq!(
            watch.slept_by(SECOND * 99),
            None,
            "the clocks are read one after the other"
        );
        assert_eq!(watch.slept_by(SECOND * 101), Some(SECOND));
    }

    #[test]
    fn a_machine_that_is_awake_does_not_sleep() {
        let mut watch = SleepWatch::new();

        let end = awake().checked_add(Duration::from_millis(200)).unwrap();
        while awake() < end {
            assert_eq!(watch.slept(), None);
        }
    }

    #[test]
    fn differences_know_their_direction() {
        let (early, late) = (Awake::after_start(SECOND), Awake::after_start(SECOND * 3));

        assert_eq!(late.saturating_since(early), SECOND * 2);
        assert_eq!(early.saturating_since(late), Duration::ZERO);
    }
}
