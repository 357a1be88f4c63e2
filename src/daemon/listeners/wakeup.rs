//! When to scan next. A wake-up is only a hint: the scan that follows is the truth.
//!
//! The observer's thread sleeps in [`WakeUp::wait`]. Whoever owns the observer ends that sleep, and the thread with it,
//! by dropping the [`Ringer`].

use std::convert::Infallible;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// Why the sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The source says that it is time to look.
    Due,
    /// The ringer is gone: time to stop.
    Stop,
}

/// A source of wake-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeUp {
    /// Look again after a fixed pause.
    Poll {
        /// The pause between the end of one scan and the start of the next.
        every: Duration,
    },
}

impl WakeUp {
    /// Sleeps until there is a reason to look.
    pub fn wait(&mut self, bell: &mut Bell) -> Wake {
        match self {
            Self::Poll { every } => bell.wait(*every),
        }
    }
}

/// The sleeping side of a bell.
#[derive(Debug)]
pub struct Bell(Receiver<Infallible>);

/// The other side of a [`Bell`]. Dropping it rings, once and for ever.
#[derive(Debug)]
pub struct Ringer {
    _sender: Sender<Infallible>,
}

/// Makes a bell.
pub fn bell() -> (Ringer, Bell) {
    let (sender, receiver) = mpsc::channel();
    (Ringer { _sender: sender }, Bell(receiver))
}

impl Bell {
    /// Sleeps for `limit` (then [`Wake::Due`]), or until the ringer is gone.
    pub fn wait(&mut self, limit: Duration) -> Wake {
        match self.0.recv_timeout(limit) {
            Err(RecvTimeoutError::Timeout) => Wake::Due,
            Err(RecvTimeoutError::Disconnected) => Wake::Stop,
            Ok(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_poll_is_due_after_its_pause() {
        let (_ringer, mut bell) = bell();
        let start = Instant::now();

        let wake = WakeUp::Poll {
            every: Duration::from_millis(20),
        }
        .wait(&mut bell);

        assert_eq!(wake, Wake::Due);
        assert!(start.elapsed() >= Duration::from_millis(19));
    }

    #[test]
    fn a_dropped_ringer_ends_the_sleep_and_every_later_one() {
        let (ringer, mut bell) = bell();
        let start = Instant::now();
        let ring = thread::spawn(move || drop(ringer));

        let wakes = [bell.wait(LONG), bell.wait(LONG)];

        assert_eq!(wakes, [Wake::Stop; 2]);
        assert!(start.elapsed() < LONG);
        assert!(ring.join().is_ok());
    }
}
