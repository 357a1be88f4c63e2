//! Hints that the machine's addresses may have changed.
//!
//! A hint carries nothing: whoever waits looks at [`super::interfaces`] again and compares. So it does no harm when
//! one is false, comes twice or is missed; for the missed ones there is a poll, slow on Linux, and once a second on Windows, as
//! Wine's notifications are stubs.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::platform;

/// The longest time between two hints where the system gives any, and where it refuses.
const POLL: Duration = platform::POLL;
const WITHOUT_HINTS: Duration = Duration::from_secs(1);

/// A source of hints. Dropping it ends the registration with the system.
#[derive(Debug)]
pub struct ChangeWatch {
    hints: Option<platform::AddressHints>,
    poll: Interval,
}

/// Starts to watch. Where the system grants no notification, the poll alone remains.
///
/// # Panics
/// Outside a tokio runtime with I/O and time enabled.
pub fn watch_changes() -> ChangeWatch {
    let hints = platform::AddressHints::new()
        .inspect_err(|error| tracing::warn!(%error, "no notification of address changes: polling only"))
        .ok();
    watch_by(hints)
}

fn watch_by(hints: Option<platform::AddressHints>) -> ChangeWatch {
    // The runtime's clock only paces the poll; no decision hangs on it, so that it counts sleep on Windows is welcome:
    // the first look after waking comes at once.
    let pause = if hints.is_some() { POLL } else { WITHOUT_HINTS };
    let mut poll = interval_at(Instant::now() + pause, pause);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ChangeWatch { hints, poll }
}

impl ChangeWatch {
    /// Returns when the addresses may have changed since the last call, and now and then in any case.
    ///
    /// Cancel-safe: it may stand in a `select!` that loops. Look at the interfaces once before the first call, after
    /// [`watch_changes`], and no change is missed.
    pub async fn changed(&mut self) {
        match &mut self.hints {
            Some(hints) => tokio::select! {
                () = hints.next() => {}
                _ = self.poll.tick() => {}
            },
            None => {
                self.poll.tick().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[tokio::test]
    async fn a_machine_that_tells_nothing_is_looked_at_again_and_again() {
        let mut watch = watch_by(None);

        for _ in 0..2 {
            tokio::time::timeout(WITHOUT_HINTS * 10, watch.changed())
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn a_busy_caller_does_not_starve_the_poll() {
        let mut watch = watch_by(None);

        let hint = async {
            loop {
                tokio::select! {
                    () = watch.changed() => break,
                    () = tokio::time::sleep(WITHOUT_HINTS / 20) => {}
                }
            }
        };

        tokio::time::timeout(WITHOUT_HINTS * 10, hint).await.unwrap();
    }
}
