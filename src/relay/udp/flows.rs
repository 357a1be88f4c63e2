//! The flows of one forward: which there are, which of them gives way to a newcomer, which has been silent for too long.
//! Pure: time is an argument. How many there may be is not known here; whoever runs out of room asks for an eviction.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// What a flow is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ends {
    /// The address that the client wrote to; it is answered from there.
    pub(super) listening: SocketAddr,
    pub(super) client: SocketAddr,
}

/// Tells a flow from others, former or later, between the same ends. The older flow has the smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Serial(u64);

/// How long a flow may be silent in both directions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// One that was answered.
    pub(super) answered: Duration,
    /// One that never was.
    pub(super) unanswered: Duration,
}

/// What became of a flow that may have been silent for too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expiry<H> {
    /// It lives, at least until then.
    Alive(Instant),
    /// It is out; here is what was kept for it.
    Expired(H),
    /// It was out before.
    Unknown,
}

/// Flows, and what the caller keeps for each.
#[derive(Debug)]
pub(super) struct Flows<H> {
    patience: Patience,
    flows: BTreeMap<Ends, Flow<H>>,
    /// Those that were never answered, the oldest first.
    unanswered: BTreeMap<Serial, Ends>,
    next: u64,
}

#[derive(Debug)]
struct Flow<H> {
    serial: Serial,
    answered: bool,
    /// When a datagram last went either way.
    last: Instant,
    kept: H,
}

impl<H> Flows<H> {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            flows: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            next: 0,
        }
    }

    /// A client has written: its flow, if it has one.
    pub(super) fn heard(&mut self, ends: &Ends, now: Instant) -> Option<(Serial, &H)> {
        let flow = self.flows.get_mut(ends)?;
        flow.last = flow.last.max(now);
        Some((flow.serial, &flow.kept))
    }

    /// Takes a new flow in. A flow between the same ends, should there be one, is out, and what was kept for it is returned.
    pub(super) fn insert(&mut self, ends: Ends, kept: H, now: Instant) -> (Serial, Option<H>) {
        let former = self.take(&ends);
        let serial = Serial(self.next);
        self.next += 1;
        let flow = Flow {
            serial,
            answered: false,
            last: now,
            kept,
        };
        self.flows.insert(ends, flow);
        self.unanswered.insert(serial, ends);
        (serial, former)
    }

    /// The service has answered on a flow. Returns whether that flow is still there.
    pub(super) fn answered(&mut self, ends: &Ends, serial: Serial, now: Instant) -> bool {
        let Some(flow) = self.flows.get_mut(ends).filter(|flow| flow.serial == serial) else {
            return false;
        };
        flow.last = flow.last.max(now);
        flow.answered = true;
        self.unanswered.remove(&serial);
        true
    }

    /// Makes room: the oldest flow that was never answered is out. That is the oldest and not the longest silent, so that
    /// no flood keeps its place by going on.
    pub(super) fn evict(&mut self) -> Option<H> {
        let (_, ends) = self.unanswered.pop_first()?;
        self.take(&ends)
    }

    /// Puts a flow out if it has been silent for too long.
    pub(super) fn expire(&mut self, ends: &Ends, serial: Serial, now: Instant) -> Expiry<H> {
        let Some(flow) = self.flows.get(ends).filter(|flow| flow.serial == serial) else {
            return Expiry::Unknown;
        };
        let patience = if flow.answered {
            self.patience.answered
        } else {
            self.patience.unanswered
        };
        let end = flow.last + patience;
        if now < end {
            return Expiry::Alive(end);
        }
        self.take(ends).map_or(Expiry::Unknown, Expiry::Expired)
    }

    /// Puts a flow out, if it is still there.
    pub(super) fn remove(&mut self, ends: &Ends, serial: Serial) -> Option<H> {
        self.flows.get(ends).filter(|flow| flow.serial == serial)?;
        self.take(ends)
    }

    /// Puts all flows out.
    pub(super) fn clear(&mut self) -> Vec<H> {
        self.unanswered.clear();
        std::mem::take(&mut self.flows)
            .into_values()
            .map(|flow| flow.kept)
            .collect()
    }

    fn take(&mut self, ends: &Ends) -> Option<H> {
        let flow = self.flows.remove(ends)?;
        self.unanswered.remove(&flow.serial);
        Some(flow.kept)
    }
}
