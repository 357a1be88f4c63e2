//! What all forwards of a program share: how many connections and flows there may be, which sockets are our own, and how
//! often trouble is worth a warning. Counts only; it opens and closes nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::crowd::Crowd;
use crate::outbound::Outbound;
use crate::pump::Held;
use crate::seldom::Seldom;
use crate::udp::Own;

/// Bounds on what clients can make a program hold (research/security.md, T41).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections that one TCP forward may have at a time.
    pub per_forward: usize,
    /// Connections that all TCP forwards together may have at a time.
    pub total: usize,
    /// Directions of connections that may have a pipe of their own for bulk data, on Linux. Each takes two descriptors and
    /// up to a quarter MiB of kernel memory while data flows.
    pub pipes: usize,
    /// How long a dial may take, all its attempts together.
    pub dial_timeout: Duration,
    /// Flows that one UDP forward may have at a time.
    pub flows_per_forward: usize,
    /// Flows that all UDP forwards together may have at a time. Where they are that many, a forward still makes room
    /// among its own, but takes none from others.
    pub flows_total: usize,
    /// How long a flow that the service has answered may be silent in both directions.
    pub flow_timeout: Duration,
    /// The same for a flow that was never answered. Not longer than [`Limits::flow_timeout`].
    pub unanswered_timeout: Duration,
}

impl Default for Limits {
    /// 1,024 connections for a forward, 8,192 in total. Five seconds for a dial, in which Linux sends its SYN at least
    /// three times (after 0, 1 and 3 s): a service whose queue is full for a moment drops the first.
    ///
    /// 1,024 flows for a forward, 4,096 in total: each holds one of the 16,384 ports that Windows deals out for UDP to
    /// all its programs. A flow ends after a minute of silence, and after ten seconds if it was never answered: nobody
    /// may have sent from its client's address at all.
    fn default() -> Self {
        Self {
            per_forward: 1024,
            total: 8192,
            pipes: 64,
            dial_timeout: Duration::from_secs(5),
            flows_per_forward: 1024,
            flows_total: 4096,
            flow_timeout: Duration::from_secs(60),
            unanswered_timeout: Duration::from_secs(10),
        }
    }
}

/// Shared by all forwards of a program.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    connections: Arc<Pool>,
    flows: Arc<Pool>,
    pipes: Arc<Semaphore>,
    held: Held,
    outbound: Arc<Outbound>,
    own: Arc<Own>,
    accept_trouble: Mutex<Seldom>,
    limit_trouble: Mutex<Seldom>,
    receive_trouble: Mutex<Seldom>,
    flow_limit_trouble: Mutex<Seldom>,
}

impl Budget {
    /// A budget of which nothing is spent.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            connections: Pool::new(limits.per_forward, limits.total),
            flows: Pool::new(limits.flows_per_forward, limits.flows_total),
            pipes: Arc::new(Semaphore::new(limits.pipes)),
            held: Held::default(),
            outbound: Arc::default(),
            own: Arc::default(),
            accept_trouble: Mutex::default(),
            limit_trouble: Mutex::default(),
            receive_trouble: Mutex::default(),
            flow_limit_trouble: Mutex::default(),
        })
    }

    /// The limits given to [`Budget::new`].
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Live connections of all TCP forwards, also of those that were closed and drain.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.taken()
    }

    /// Live flows of all UDP forwards.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.flows.taken()
    }

    /// The right to one connection of the forward whose live connections `live` counts.
    pub(crate) fn connection_slot(&self, live: &Arc<Crowd>) -> Option<Slot> {
        Slot::take(&self.connections, live)
    }

    /// The right to one flow of the forward whose live flows `live` counts.
    pub(crate) fn flow_slot(&self, live: &Arc<Crowd>) -> Option<Slot> {
        Slot::take(&self.flows, live)
    }

    /// The right to one pipe; given back when dropped.
    pub(crate) fn pipe_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.pipes).try_acquire_owned().ok()
    }

    /// What all connections hold of data that nobody takes.
    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    /// The TCP sockets that this program has dialled out with.
    pub(crate) fn outbound(&self) -> &Arc<Outbound> {
        &self.outbound
    }

    /// The UDP addresses between which this program itself carries datagrams.
    pub(crate) fn own(&self) -> &Arc<Own> {
        &self.own
    }

    /// Whether failing accepts deserve a warning, rather than one more line for the patient.
    pub(crate) fn warn_of_accept(&self) -> bool {
        is_due(&self.accept_trouble)
    }

    /// The same for clients turned away by a limit.
    pub(crate) fn warn_of_limit(&self) -> bool {
        is_due(&self.limit_trouble)
    }

    /// The same for datagrams that cannot be received.
    pub(crate) fn warn_of_receive(&self) -> bool {
        is_due(&self.receive_trouble)
    }

    /// The same for flows that a limit does not allow.
    pub(crate) fn warn_of_flow_limit(&self) -> bool {
        is_due(&self.flow_limit_trouble)
    }
}

fn is_due(seldom: &Mutex<Seldom>) -> bool {
    seldom
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_due(Instant::now())
}

/// What there may be of one kind, connections or flows, and how many are taken of it by all forwards together.
#[derive(Debug)]
struct Pool {
    per_forward: usize,
    total: usize,
    taken: Crowd,
}

impl Pool {
    fn new(per_forward: usize, total: usize) -> Arc<Self> {
        Arc::new(Self {
            per_forward,
            total,
            taken: Crowd::default(),
        })
    }

    fn taken(&self) -> usize {
        self.taken.count()
    }
}

/// The right to one connection or flow; given back when dropped, however that ended.
#[derive(Debug)]
pub(crate) struct Slot {
    pool: Arc<Pool>,
    live: Arc<Crowd>,
}

impl Slot {
    /// Takes a slot of the pool and of the forward whose share of it `live` counts, or none of both.
    fn take(pool: &Arc<Pool>, live: &Arc<Crowd>) -> Option<Self> {
        if !pool.taken.enter(pool.total) {
            return None;
        }
        if !live.enter(pool.per_forward) {
            pool.taken.leave();
            return None;
        }
        Some(Self {
            pool: Arc::clone(pool),
            live: Arc::clone(live),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.taken.leave();
        self.live.leave();
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
        let (one, other) = (Arc::<Crowd>::default(), Arc::<Crowd>::default());

        let first = budget.connection_slot(&one).unwrap();
        let _second = budget.connection_slot(&one).unwrap();
        assert!(budget.connection_slot(&one).is_none(), "the forward's own limit");
        assert_eq!(budget.connections(), 2, "a refused slot takes nothing");

        let _third = budget.connection_slot(&other).unwrap();
        assert!(budget.connection_slot(&other).is_none(), "the total");
        assert_eq!(other.count(), 1);

        drop(first);
        assert_eq!((budget.connections(), one.count()), (2, 1));
        assert!(budget.connection_slot(&other).is_some());
    }

    #[test]
    fn flows_and_connections_take_nothing_from_each_other() {
        let budget = Budget::new(Limits {
            per_forward: 1,
            flows_per_forward: 1,
            flows_total: 1,
            ..Limits::default()
        });
        let (connections, flows) = (Arc::<Crowd>::default(), Arc::<Crowd>::default());

        let _connection = budget.connection_slot(&connections).unwrap();
        let flow = budget.flow_slot(&flows).unwrap();

        assert!(budget.flow_slot(&Arc::<Crowd>::default()).is_none());
        assert_eq!((budget.connections(), budget.flows()), (1, 1));
        drop(flow);
        assert_eq!((budget.connections(), budget.flows()), (1, 0));
    }
}
