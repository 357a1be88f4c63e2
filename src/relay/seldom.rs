//! Keeps a warning from filling the log while its cause lasts. Pure: time is an argument.

use std::time::{Duration, Instant};

/// How long a condition that was reported stays quiet.
const QUIET: Duration = Duration::from_secs(60);

/// Remembers when a condition was last reported.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    reported: Option<Instant>,
}

impl Seldom {
    /// Whether the condition deserves a warning now; if so, it is taken as given.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = self
            .reported
            .is_none_or(|reported| now.saturating_duration_since(reported) >= QUIET);
        if due {
            self.reported = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warns_first_then_stays_quiet_then_warns_again() {
        let start = Instant::now();
        let mut seldom = Seldom::default();

        assert!(seldom.is_due(start));
        assert!(!seldom.is_due(start));
        assert!(!seldom.is_due(start + QUIET - Duration::from_millis(1)));
        assert!(seldom.is_due(start + QUIET));
        assert!(!seldom.is_due(start + QUIET));
    }
}
