//! What the listening sockets and flows of one UDP forward have in common: where it leads, what it counts, which flows
//! it has.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio_util::sync::DropGuard;

use crate::budget::{Budget, Slot};
use crate::crowd::Crowd;
use crate::forward::{Counters, Tally};
use crate::gate::{Gate, guarded};
use crate::pump::Traffic;

use super::flows::{Ends, Expiry, Flows, Patience, Serial};
use super::own::Claim;
use super::upstream::{Closed, Upstream};

/// What is kept for a flow. When it goes, the flow's task ends.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) upstream: Arc<Upstream>,
    pub(super) cut: DropGuard,
    pub(super) closed: Closed,
}

/// A flow that was there a moment ago.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) ends: Ends,
    pub(super) serial: Serial,
    pub(super) upstream: Arc<Upstream>,
}

/// The shared side of a [`crate::UdpForwarder`]. Its tasks keep it alive.
#[derive(Debug)]
pub(super) struct UdpForward {
    pub(super) gate: Arc<dyn Gate>,
    pub(super) budget: Arc<Budget>,
    pub(super) tally: Tally,
    pub(super) traffic: Traffic,
    state: Mutex<State>,
    live: Arc<Crowd>,
}

/// Under one lock, so that no flow to a former target comes in after its like have gone.
#[derive(Debug)]
struct State {
    target: SocketAddr,
    /// Makes the target ours.
    claim: Claim,
    flows: Flows<Kept>,
}

impl UdpForward {
    pub(super) fn new(target: SocketAddr, gate: Arc<dyn Gate>, budget: Arc<Budget>) -> Arc<Self> {
        let limits = budget.limits();
        let state = State {
            target,
            claim: budget.own().claim(target),
            flows: Flows::new(Patience {
                answered: limits.flow_timeout,
                unanswered: limits.unanswered_timeout,
            }),
        };
        Arc::new(Self {
            gate: guarded(gate),
            budget,
            tally: Tally::default(),
            traffic: Traffic::default(),
            state: Mutex::new(state),
            live: Arc::default(),
        })
    }

    pub(super) fn target(&self) -> SocketAddr {
        self.lock().target
    }

    /// Sends new flows to `target` and ends all others.
    pub(super) fn retarget(&self, target: SocketAddr) {
        let claim = self.budget.own().claim(target);
        let mut state = self.lock();
        state.target = target;
        let former = (std::mem::replace(&mut state.claim, claim), state.flows.clear());
        drop(state);
        drop(former);
    }

    pub(super) fn counters(&self) -> Counters {
        self.tally.counters(self.live.count(), &self.traffic)
    }

    /// The flow of a client that has written just now.
    pub(super) fn heard(&self, ends: Ends) -> Option<Known> {
        let mut state = self.lock();
        let (serial, kept) = state.flows.heard(&ends, Instant::now())?;
        Some(Known {
            ends,
            serial,
            upstream: Arc::clone(&kept.upstream),
        })
    }

    /// Room for one more flow. Where there is none, the oldest flow that was never answered makes it, and this waits until
    /// its socket is closed: there are never more than the limits say. Its task waits for nobody, so that is soon.
    pub(super) async fn slot(&self) -> Option<Slot> {
        loop {
            if let Some(slot) = self.budget.flow_slot(&self.live) {
                return Some(slot);
            }
            let Kept {
                upstream,
                cut,
                closed,
            } = self.evict()?;
            drop((upstream, cut));
            // Nothing is ever sent: it resolves when the other side goes.
            let _gone = closed.await;
        }
    }

    fn evict(&self) -> Option<Kept> {
        self.lock().flows.evict()
    }

    /// Takes a flow in, unless the forward leads elsewhere by now.
    pub(super) fn enter(&self, ends: Ends, kept: Kept) -> Option<Known> {
        let upstream = Arc::clone(&kept.upstream);
        let mut state = self.lock();
        if state.target != upstream.target() {
            return None;
        }
        let (serial, former) = state.flows.insert(ends, kept, Instant::now());
        drop(state);
        drop(former);
        Some(Known {
            ends,
            serial,
            upstream,
        })
    }

    /// The service has answered on a flow. Returns whether it is still there.
    pub(super) fn answered(&self, ends: &Ends, serial: Serial) -> bool {
        self.lock().flows.answered(ends, serial, Instant::now())
    }

    /// Ends a flow if it has been silent for too long; else, when to look again.
    pub(super) fn expire(&self, ends: &Ends, serial: Serial) -> Option<Instant> {
        let expiry = self.lock().flows.expire(ends, serial, Instant::now());
        match expiry {
            Expiry::Alive(until) => Some(until),
            Expiry::Expired(_) | Expiry::Unknown => None,
        }
    }

    /// Ends a flow. Returns whether it was still there.
    pub(super) fn end(&self, ends: &Ends, serial: Serial) -> bool {
        let kept = self.lock().flows.remove(ends, serial);
        kept.is_some()
    }

    /// Ends a flow whose target cannot be reached any more; counts it, if nobody has before.
    pub(super) fn fail(&self, ends: &Ends, serial: Serial, error: &io::Error) {
        if self.end(ends, serial) {
            count(&self.tally.dial_failures);
            tracing::debug!(client = %ends.client, listening = %ends.listening, %error, "the service refuses; flow ended");
        }
    }

    /// Ends a flow that the gate does not let go on; `counter` counts those.
    pub(super) fn bar(&self, ends: &Ends, serial: Serial, counter: &AtomicU64, reason: &str) {
        if self.end(ends, serial) {
            count(counter);
            tracing::debug!(client = %ends.client, listening = %ends.listening, reason, "a flow may not go on; ended");
        }
    }

    pub(super) fn report_limit(&self, client: SocketAddr) {
        let (target, live, total) = (self.target(), self.live.count(), self.budget.flows());
        if self.budget.warn_of_flow_limit() {
            tracing::warn!(%client, %target, live, total, "too many flows, and all are answered; new clients are not heard");
        } else {
            tracing::debug!(%client, %target, live, total, "too many flows; datagram dropped");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::budget::Limits;

    #[tokio::test]
    async fn a_flow_to_a_former_target_does_not_come_in() {
        let (former, target) = (at("127.0.0.1:5000"), at("127.0.0.1:5001"));
        let forward = UdpForward::new(former, Arc::new(Open), Budget::new(Limits::default()));
        let ends = Ends {
            listening: at("127.0.0.1:8000"),
            client: at("127.0.0.1:9000"),
        };
        let late = flow(&forward).await;
        let cut = late.1.clone();

        forward.retarget(target);

        assert!(forward.enter(ends, late.0).is_none());
        assert!(cut.is_cancelled());
        assert_eq!(forward.counters().connections, 0, "nothing is left of it");
        assert!(forward.enter(ends, flow(&forward).await.0).is_some());
    }

    /// What is kept for a flow to the present target, and what tells its end.
    async fn flow(forward: &UdpForward) -> (Kept, CancellationToken) {
        let (slot, own) = (forward.slot().await.unwrap(), forward.budget.own());
        let (upstream, closed) = Upstream::open(forward.target(), &Open, own, slot).unwrap();
        let token = CancellationToken::new();
        let kept = Kept {
            upstream,
            cut: token.clone().drop_guard(),
            closed,
        };
        (kept, token)
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[derive(Debug)]
    struct Open;

    impl Gate for Open {
        fn admits(&self, _client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
            Ok(())
        }

        fn permits(&self, _target: SocketAddr) -> Result<(), String> {
            Ok(())
        }
    }
}
