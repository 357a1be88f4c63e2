//! How many there are of something, and the wait for the last of them to go.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A number of connections or flows. Counting costs no more than that: only the last to leave looks for somebody who waits.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    count: AtomicUsize,
    deserted: Notify,
}

impl Crowd {
    /// How many there are now.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// One more, unless there are `limit` already. Returns whether there was room.
    pub(crate) fn enter(&self, limit: usize) -> bool {
        self.count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < limit).then_some(count + 1)
            })
            .is_ok()
    }

    /// One less, of those that have entered.
    pub(crate) fn leave(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.deserted.notify_waiters();
        }
    }

    /// Returns when nobody is left.
    pub(crate) async fn deserted(&self) {
        loop {
            // Before the look: who leaves after it is heard.
            let left = self.deserted.notified();
            if self.count() == 0 {
                return;
            }
            left.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_crowd_has_a_limit_and_is_deserted_when_the_last_has_left() {
        let crowd = Crowd::default();
        assert!(crowd.enter(2) && crowd.enter(2));
        assert!(!crowd.enter(2));
        assert_eq!(crowd.count(), 2);

        let mut deserted = pin!(crowd.deserted());
        let mut is_deserted = || deserted.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(is_deserted().is_pending());
        crowd.leave();
        assert!(is_deserted().is_pending());
        crowd.leave();
        assert_eq!(is_deserted(), Poll::Ready(()));
    }
}
