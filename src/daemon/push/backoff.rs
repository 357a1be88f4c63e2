//! The pauses between attempts to reach the companion. Pure: randomness comes in as an argument.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause after an attempt that met no answer: each such attempt costs seconds of waiting already.
const LONGEST: Duration = Duration::from_secs(7);
/// The longest pause after a refusal. Windows answered at once, only the companion is not there: asking costs one
/// packet, and the user who starts it should not wait.
const LONGEST_REFUSED: Duration = Duration::from_millis(500);

/// How an attempt ended, as far as the next pause is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// Something answered that it is not there, or not willing.
    Answered,
    /// Nothing answered.
    Silence,
}

/// Doubling pauses with 20 % jitter.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Starts again with the shortest pause.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The pause before the next attempt. `dice` is any random number.
    pub(super) fn next(&mut self, setback: Setback, dice: u32) -> Duration {
        let longest = match setback {
            Setback::Answered => LONGEST_REFUSED,
            Setback::Silence => LONGEST,
        };
        let pause = FIRST.saturating_mul(1 << self.attempts.min(16)).min(longest);
        self.attempts = self.attempts.saturating_add(1);
        // Between 80 % and 100 %, so that many daemons do not come back in the same instant.
        pause.mul_f64(0.8 + 0.2 * f64::from(dice) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit() {
        let mut backoff = Backoff::default();

        let pauses = (0..8)
            .map(|_| backoff.next(Setback::Silence, u32::MAX).as_millis())
            .collect::<Vec<_>>();

        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 7000, 7000]);
        backoff.reset();
        assert_eq!(backoff.next(Setback::Silence, u32::MAX), FIRST);
    }

    #[test]
    fn a_refusal_is_followed_by_short_pauses_only() {
        let mut backoff = Backoff::default();

        let longest = (0..100).map(|_| backoff.next(Setback::Answered, u32::MAX)).max();

        assert_eq!(longest, Some(LONGEST_REFUSED));
    }

    #[test]
    fn jitter_shortens_by_a_fifth_at_most() {
        assert_eq!(
            Backoff::default().next(Setback::Silence, 0),
            Duration::from_millis(160)
        );
    }
}
