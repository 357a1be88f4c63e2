//! Calls that may hang, made on a thread of their own: whoever asks waits for so long and no longer.
//!
//! There is one thread for each [`Aside`], started by the first call. While it is held up, further calls are refused at once, so that
//! a service of the system that hangs costs one thread and one wait, whatever the number of questions. A call that nobody
//! waits for any more is not begun; one that was begun cannot be stopped, and its answer is dropped. Then whoever asked does not know
//! what came of it, and must look.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A place for calls that may hang. Meant for a `static`.
#[derive(Debug)]
pub(crate) struct Aside {
    /// The thread's name.
    name: &'static str,
    /// Runs on the thread before the first call.
    prepare: fn(),
    thread: Mutex<Option<Sender<Job>>>,
    /// The stage of the last call for which somebody waited in vain: until it is over, the thread is stuck.
    overdue: Mutex<Option<Arc<AtomicU8>>>,
}

/// There is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// It did not come in time, or an earlier call has not come back yet.
    #[error("it does not answer")]
    Late,
    /// The call panicked, or there is no thread to be had.
    #[error("it could not be asked")]
    Failed,
}

type Job = Box<dyn FnOnce() + Send>;

/// How far a call is.
mod stage {
    pub const WAITS: u8 = 0;
    pub const RUNS: u8 = 1;
    pub const GIVEN_UP: u8 = 2;
    pub const OVER: u8 = 3;
}

impl Aside {
    /// A place whose thread has this name and makes itself ready in this way.
    pub(crate) const fn new(name: &'static str, prepare: fn()) -> Self {
        Self {
            name,
            prepare,
            thread: Mutex::new(None),
            overdue: Mutex::new(None),
        }
    }

    /// Makes the call there. Blocks for `patience` at most, so not for the threads of an event loop.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub(crate) fn call<T: Send + 'static>(
        &'static self,
        patience: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        if self.is_stuck() {
            return Err(NoAnswer::Late);
        }
        let (answer, reply) = mpsc::sync_channel(1);
        let stage = Arc::new(AtomicU8::new(stage::WAITS));
        let seen = stage.clone();
        self.send(Box::new(move || {
            if advance(&seen, stage::RUNS) {
                let _over = Over(&seen);
                // Nobody may wait for it any more.
                drop(answer.send(call()));
            }
        }))?;
        match reply.recv_timeout(patience) {
            Ok(value) => Ok(value),
            Err(RecvTimeoutError::Disconnected) => Err(NoAnswer::Failed),
            Err(RecvTimeoutError::Timeout) => {
                // One that has not begun waits behind another, whose caller says what is to be said of the thread.
                if advance(&stage, stage::GIVEN_UP) {
                    return Err(NoAnswer::Late);
                }
                *self.overdue.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
                // It may have come between the two.
                reply.try_recv().map_err(|_| NoAnswer::Late)
            }
        }
    }

    fn is_stuck(&self) -> bool {
        let overdue = self.overdue.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |stage: &Arc<AtomicU8>| stage.load(Ordering::Acquire) == stage::OVER;
        overdue.as_ref().is_some_and(|stage| !is_over(stage))
    }

    fn send(&'static self, job: Job) -> Result<(), NoAnswer> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(living) = thread.as_ref() {
            return living.send(job).map_err(|_| NoAnswer::Failed);
        }
        let (sender, jobs) = mpsc::channel::<Job>();
        let prepare = self.prepare;
        let run = move || {
            prepare();
            // A call that panics costs its caller the answer, and nobody the thread.
            jobs.into_iter()
                .for_each(|job| drop(catch_unwind(AssertUnwindSafe(job))));
        };
        std::thread::Builder::new()
            .name(self.name.to_owned())
            .spawn(run)
            .map_err(|_| NoAnswer::Failed)?;
        sender.send(job).map_err(|_| NoAnswer::Failed)?;
        *thread = Some(sender);
        Ok(())
    }
}

/// A call is over at its end, even if that is a panic.
struct Over<'a>(&'a AtomicU8);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(stage::OVER, Ordering::Release);
    }
}

/// From waiting to `next`; false if the other side was first.
fn advance(stage: &AtomicU8, next: u8) -> bool {
    stage
        .compare_exchange(stage::WAITS, next, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(20);

    fn aside() -> &'static Aside {
        Box::leak(Box::new(Aside::new("aside-test", || {})))
    }

    #[test]
    fn a_call_is_answered_from_one_thread_of_its_own() {
        let aside = aside();
        let name = || {
            (
                std::thread::current().id(),
                std::thread::current().name().map(str::to_owned),
            )
        };

        let first = aside.call(LONG, name).unwrap();

        assert_eq!(first.1.as_deref(), Some("aside-test"));
        assert_eq!(aside.call(LONG, name).unwrap(), first);
    }

    #[test]
    fn one_that_hangs_costs_one_wait_and_is_asked_again_when_it_came_back() {
        let aside = aside();
        let (release, held) = mpsc::channel::<()>();
        assert_eq!(
            aside.call(SHORT, move || held.recv().is_ok()),
            Err(NoAnswer::Late)
        );

        let begin = Instant::now();
        assert_eq!(aside.call(LONG, || 1), Err(NoAnswer::Late));
        assert!(begin.elapsed() < LONG / 2, "refused at once");

        release.send(()).unwrap();
        let deadline = Instant::now() + LONG;
        while aside.call(LONG, || 1) != Ok(1) {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_that_panics_when_nobody_waits_any_more_is_over_too() {
        let aside = aside();
        let (release, held) = mpsc::channel::<()>();
        let late: Result<(), NoAnswer> = aside.call(SHORT, move || {
            held.recv().unwrap();
            // Without a panic's message.
            std::panic::resume_unwind(Box::new(()))
        });
        assert_eq!(late, Err(NoAnswer::Late));

        release.send(()).unwrap();

        let deadline = Instant::now() + LONG;
        while aside.call(LONG, || 1) != Ok(1) {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_begun() {
        let aside = aside();
        let (release, held) = mpsc::channel::<()>();
        let (began, begun) = mpsc::channel::<()>();
        let slow = std::thread::spawn(move || {
            aside.call(LONG, move || {
                began.send(()).unwrap();
                held.recv().unwrap();
            })
        });
        begun.recv().unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let mark = done.clone();

        let late = aside.call(SHORT, move || mark.store(true, Ordering::SeqCst));
        release.send(()).unwrap();

        assert_eq!(late, Err(NoAnswer::Late));
        assert_eq!(slow.join().unwrap(), Ok(()));
        assert_eq!(
            aside.call(LONG, || 2),
            Ok(2),
            "and what hung is not held against the thread"
        );
        assert!(!done.load(Ordering::SeqCst));
    }

    #[test]
    fn a_call_that_panics_is_one_failed_call() {
        let aside = aside();

        assert_eq!(aside.call(LONG, || assert_eq!(1, 2)), Err(NoAnswer::Failed));

        assert_eq!(aside.call(LONG, || 3), Ok(3));
    }
}
