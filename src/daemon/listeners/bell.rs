//! How a sleeping thread is woken up by another one, or told to end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::wakeup::Wake;

/// The sleeping side of a bell.
#[derive(Debug)]
pub struct Bell(Arc<Shared>);

/// The other side of a [`Bell`]. Dropping it rings, once and for ever.
#[derive(Debug)]
pub struct Ringer(Arc<Shared>);

/// Rings a [`Bell`] now and then, and is nobody whose end would mean anything.
#[derive(Debug)]
pub struct Chime(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    rung: EventFd,
    stopped: AtomicBool,
}

/// Makes a bell.
///
/// # Errors
/// When the system has no descriptor left.
pub fn bell() -> io::Result<(Ringer, Bell)> {
    let shared = Arc::new(Shared {
        rung: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
        stopped: AtomicBool::new(false),
    });
    Ok((Ringer(Arc::clone(&shared)), Bell(shared)))
}

impl Shared {
    fn ring(&self) {
        // It fails when it was rung 2^64 times and nobody has woken up.
        if let Err(errno) = self.rung.write(1) {
            tracing::debug!(%errno, "the bell was rung already");
        }
    }
}

impl Ringer {
    /// Ends the present sleep, or the next one.
    pub fn ring(&self) {
        self.0.ring();
    }
}

impl Chime {
    /// Ends the present sleep, or the next one.
    pub fn ring(&self) {
        self.0.ring();
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Release);
        self.ring();
    }
}

impl Bell {
    /// Something else to ring it with.
    pub fn chime(&self) -> Chime {
        Chime(Arc::clone(&self.0))
    }

    /// Sleeps for `limit`, or until it is rung (both [`Wake::Due`]), or the ringer is gone.
    pub fn wait(&self, limit: Duration) -> Wake {
        self.rung_within(limit).unwrap_or(Wake::Due)
    }

    /// What it was rung for while it was waited for; `None` when it was not, for `limit` or until a signal came.
    pub(super) fn rung_within(&self, limit: Duration) -> Option<Wake> {
        let mut bell = [PollFd::new(self.fd(), PollFlags::POLLIN)];
        match poll(&mut bell, timeout(limit)) {
            Ok(0) | Err(Errno::EINTR) => None,
            Ok(_) => Some(self.heard()),
            Err(errno) => {
                tracing::warn!(%errno, "the bell cannot be waited for");
                std::thread::sleep(limit);
                Some(self.heard())
            }
        }
    }

    /// Ready to be read when it was rung; [`Bell::heard`] must follow.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.rung.as_fd()
    }

    /// Takes note of a ring.
    pub(super) fn heard(&self) -> Wake {
        if self.0.stopped.load(Ordering::Acquire) {
            return Wake::Stop;
        }
        if let Err(errno) = self.0.rung.read() {
            tracing::trace!(%errno, "the bell was not rung");
        }
        Wake::Due
    }
}

/// How long poll(2) is to wait. Rounded up: woken up too early, the caller would find nothing due, and turn in circles until it is.
pub(super) fn timeout(limit: Duration) -> PollTimeout {
    PollTimeout::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::thread;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_ring_ends_one_sleep_whether_it_comes_before_or_during_it() {
        let (ringer, bell) = bell().unwrap();
        let start = Instant::now();

        ringer.ring();
        let first = bell.wait(LONG);
        let ring = thread::spawn(move || {
            ringer.ring();
            ringer
        });
        let second = bell.wait(LONG);

        assert_eq!([first, second], [Wake::Due; 2]);
        assert!(start.elapsed() < LONG);
        let ringer = ring.join().unwrap();
        let start = Instant::now();
        assert_eq!(bell.wait(Duration::from_millis(20)), Wake::Due);
        assert!(
            start.elapsed() >= Duration::from_millis(19),
            "a ring is heard once"
        );
        drop(ringer);
    }

    #[test]
    fn a_dropped_ringer_ends_the_sleep_and_every_later_one() {
        let (ringer, bell) = bell().unwrap();
        let start = Instant::now();
        let ring = thread::spawn(move || drop(ringer));

        let wakes = [bell.wait(LONG), bell.wait(LONG)];

        assert_eq!(wakes, [Wake::Stop; 2]);
        assert!(start.elapsed() < LONG);
        assert!(ring.join().is_ok());
    }
}
