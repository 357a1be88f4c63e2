//! What all forwards of a program share: how many connections there may be, which sockets are our own, and how often
//! trouble is worth a warning. Counts only; it opens and closes nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::outbound::Outbound;
use crate::seldom::Seldom;

/// Bounds on what clients can make a program hold (research/security.md, T41).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections that one forward may have at a time.
    pub per_forward: usize,
    /// Connections that all forwards together may have at a time.
    pub total: usize,
    /// How long a dial may take, all its attempts together.
    pub dial_timeout: Duration,
}

impl Default for Limits {
    /// 1,024 connections for a forward, 8,192 in total. Five seconds for a dial, in which Linux sends its SYN at least
    /// three times (after 0, 1 and 3 s): a service whose queue is full for a moment drops the first.
    fn default() -> Self {
        Self {
            per_forward: 1024,
            total: 8192,
            dial_timeout: Duration::from_secs(5),
        }
    }
}

/// Shared by all forwards of a program.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    connections: AtomicUsize,
    outbound: Arc<Outbound>,
    accept_trouble: Mutex<Seldom>,
    limit_trouble: Mutex<Seldom>,
}

impl Budget {
    /// A budget of which nothing is spent.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            connections: AtomicUsize::new(0),
            outbound: Arc::default(),
            accept_trouble: Mutex::default(),
            limit_trouble: Mutex::default(),
        })
    }

    /// The limits given to [`Budget::new`].
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Live connections of all forwards, also of those that were closed and drain.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// The sockets that this program has dialled out with.
    pub(crate) fn outbound(&self) -> &Arc<Outbound> {
        &self.outbound
    }

    /// Whether failing accepts deserve a warning, rather than one more line for the patient.
    pub(crate) fn warn_of_accept(&self) -> bool {
        is_due(&self.accept_trouble)
    }

    /// The same for clients turned away by a limit.
    pub(crate) fn warn_of_limit(&self) -> bool {
        is_due(&self.limit_trouble)
    }
}

fn is_due(seldom: &Mutex<Seldom>) -> bool {
    seldom
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_due(Instant::now())
}

/// The right to one connection; given back when dropped, however its connection ended.
#[derive(Debug)]
pub(crate) struct Slot {
    budget: Arc<Budget>,
    live: Arc<watch::Sender<usize>>,
}

impl Slot {
    /// Takes a slot of the budget and of the forward whose live connections `live` counts, or none of both.
    pub(crate) fn take(budget: &Arc<Budget>, live: &Arc<watch::Sender<usize>>) -> Option<Self> {
        let Limits {
            per_forward, total, ..
        } = budget.limits;
        let take_one = |taken: usize, limit: usize| (taken < limit).then_some(taken + 1);

        budget
            .connections
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                take_one(taken, total)
            })
            .ok()?;
        let taken = live.send_if_modified(|taken| match take_one(*taken, per_forward) {
            Some(more) => {
                *taken = more;
                true
            }
            None => false,
        });
        if !taken {
            budget.connections.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Self {
            budget: Arc::clone(budget),
            live: Arc::clone(live),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.budget.connections.fetch_sub(1, Ordering::AcqRel);
        self.live.send_modify(|live| *live -= 1);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

    use super::*;

    #[test]
    fn a_slot_counts_in_both_limits_and_comes_back() {
        let budget = Budget::new(Limits {
            per_forward: 2,
            total: 3,
            ..Limits::default()
        });
        let (one, other) = (Arc::new(watch::Sender::new(0)), Arc::new(watch::Sender::new(0)));

        let first = Slot::take(&budget, &one).unwrap();
        let _second = Slot::take(&budget, &one).unwrap();
        assert!(Slot::take(&budget, &one).is_none(), "the forward's own limit");
        assert_eq!(budget.connections(), 2, "a refused slot takes nothing");

        let _third = Slot::take(&budget, &other).unwrap();
        assert!(Slot::take(&budget, &other).is_none(), "the total");
        assert_eq!(*other.borrow(), 1);

        drop(first);
        assert_eq!((budget.connections(), *one.borrow()), (2, 1));
        assert!(Slot::take(&budget, &other).is_some());
    }
}
