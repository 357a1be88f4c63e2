//! Hints that the machine's addresses may have changed.
//!
//! A hint carries nothing: whoever waits looks at [`super::interfaces`] again and compares. So it does no harm when
//! one is false, comes twice or is missed; for the missed ones (Wine's notifications are stubs) there is a slow poll.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::platform;

/// The longest time between two hints.
pub const POLL: Duration = Duration::from_secs(1);

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
    // The runtime's clock only paces the poll; no decision hangs on it, so that it counts sleep on Windows is welcome:
    // the first look after waking comes at once.
    let mut poll = interval_at(Instant::now() + POLL, POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ChangeWatch { hints, poll }
}

impl ChangeWatch {
    /// Returns when the addresses may have changed since the last call, and after [`POLL`] in any case.
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
    async fn a_quiet_machine_is_looked_at_again_and_again() {
        let mut watch = watch_changes();

        for _ in 0..2 {
            tokio::time::timeout(POLL * 10, watch.changed()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_busy_caller_does_not_starve_the_poll() {
        let mut watch = watch_changes();

        let hint = async {
            loop {
                tokio::select! {
                    () = watch.changed() => break,
                    () = tokio::time::sleep(POLL / 20) => {}
                }
            }
        };

        tokio::time::timeout(POLL * 10, hint).await.unwrap();
    }
}
