//! When to scan next. A wake-up is only a hint: the scan that follows is the truth.
//!
//! The observer's thread sleeps in [`WakeUp::wait`]. Other threads end that sleep with a [`Ringer`]. The bell is a
//! file descriptor, so a source that waits for kernel events can wait for both in one `poll`.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Why the sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The source says that it is time to look.
    Due,
    /// Somebody rang and wants a scan now.
    Rung,
    /// Somebody asked to stop, or nobody is left who could ring.
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

impl Default for WakeUp {
    fn default() -> Self {
        Self::Poll {
            every: Duration::from_millis(100),
        }
    }
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
pub struct Bell {
    stream: UnixStream,
    stopped: Arc<AtomicBool>,
}

/// The ringing side of a [`Bell`]; clones ring the same one.
#[derive(Clone, Debug)]
pub struct Ringer {
    stream: Arc<UnixStream>,
    stopped: Arc<AtomicBool>,
}

/// Makes a bell.
///
/// # Errors
/// When the process has no file descriptors left.
pub fn bell() -> io::Result<(Ringer, Bell)> {
    let (ours, theirs) = UnixStream::pair()?;
    // A full pipe already holds a ring that was not heard yet: never wait for it.
    ours.set_nonblocking(true)?;
    let stopped = Arc::new(AtomicBool::new(false));
    let ringer = Ringer {
        stream: Arc::new(ours),
        stopped: Arc::clone(&stopped),
    };
    Ok((
        ringer,
        Bell {
            stream: theirs,
            stopped,
        },
    ))
}

impl Bell {
    /// Sleeps until somebody rings, at most for `limit` (then [`Wake::Due`]). Rings that came before count, all of
    /// them as one.
    pub fn wait(&mut self, limit: Duration) -> Wake {
        let mut rings = [0; 64];
        // A limit of zero would mean "for ever" to the kernel.
        let limit = limit.max(Duration::from_millis(1));
        let heard = match self.stream.set_read_timeout(Some(limit)) {
            Ok(()) => self.stream.read(&mut rings),
            Err(error) => Err(error),
        };
        if self.stopped.load(Ordering::Acquire) {
            return Wake::Stop;
        }
        match heard {
            Ok(0) => Wake::Stop,
            Ok(_) => Wake::Rung,
            // Time is up; or a signal came, and a scan too many does no harm.
            Err(_) => Wake::Due,
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Ringer {
    /// Asks for a scan now.
    pub fn ring(&self) {
        // The only failures are a full pipe, which rings anyway, and a sleeper that is gone.
        let _ = (&*self.stream).write(&[1]);
    }

    /// Asks the sleeper to end. Every later wait answers [`Wake::Stop`] at once.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_poll_is_due_after_its_pause() {
        let (_ringer, mut bell) = bell().unwrap();
        let start = Instant::now();

        let wake = WakeUp::Poll {
            every: Duration::from_millis(20),
        }
        .wait(&mut bell);

        assert_eq!(wake, Wake::Due);
        assert!(start.elapsed() >= Duration::from_millis(19));
    }

    #[test]
    fn a_ring_ends_the_sleep_and_a_hundred_rings_are_one() {
        let (ringer, mut bell) = bell().unwrap();
        for _ in 0..50 {
            ringer.ring();
        }

        let first = WakeUp::Poll { every: LONG }.wait(&mut bell);
        let second = WakeUp::Poll {
            every: Duration::from_millis(1),
        }
        .wait(&mut bell);

        assert_eq!((first, second), (Wake::Rung, Wake::Due));
    }

    #[test]
    fn ringing_never_blocks_when_nobody_hears() {
        let (ringer, mut bell) = bell().unwrap();

        for _ in 0..100_000 {
            ringer.ring();
        }

        assert_eq!(bell.wait(LONG), Wake::Rung);
    }

    #[test]
    fn stop_stays_stopped_and_a_lost_ringer_stops_too() {
        let (ringer, mut stopped) = bell().unwrap();
        ringer.stop();
        let (lost, mut orphan) = bell().unwrap();
        drop(lost);

        assert_eq!(
            [stopped.wait(LONG), stopped.wait(Duration::from_millis(1))],
            [Wake::Stop; 2]
        );
        assert_eq!(orphan.wait(LONG), Wake::Stop);
    }
}
