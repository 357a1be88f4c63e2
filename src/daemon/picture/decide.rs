//! The labels of each listener, and the verdict on it alone.
//!
//! Most pictures differ from the one before in a listener or two. What was found of the others stays as it was, in the same
//! memory, as long as nothing is new that it hangs on: the listener itself, the [`Ground`], and that no container and no unit has a say.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::net::SocketAddr;
use std::slice;
use std::sync::Arc;
use std::time::Instant;

use super::{Asked, Entry, Inputs, Nature, facts, surroundings};
use crate::bridge::BridgeState;
use crate::containers::Found;
use crate::labels::Labels;
use crate::observe::Listener;
use crate::policy::{Policy, Surroundings, Verdict};
use crate::units::Said;

/// What a verdict hangs on besides its listener.
#[derive(Debug)]
pub(super) struct Ground {
    policy: Arc<Policy>,
    distro: Option<String>,
    /// How Windows reaches the VM.
    pub(super) surroundings: Surroundings,
}

impl Ground {
    /// The ground of these inputs, which is that of the picture before if nothing of it is new.
    pub(super) fn of(inputs: &Inputs<'_>) -> Arc<Self> {
        let ground = Self {
            policy: Arc::clone(inputs.policy),
            distro: inputs.distro.map(str::to_owned),
            surroundings: surroundings(inputs),
        };
        let before = inputs.before.map(|before| &before.ground);
        match before.filter(|before| before.is_same(&ground)) {
            Some(before) => Arc::clone(before),
            None => Arc::new(ground),
        }
    }

    /// A policy is never changed, but replaced.
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.policy, &other.policy)
            && self.distro == other.distro
            && self.surroundings == other.surroundings
    }
}

/// All listeners, each decided on by itself.
pub(super) struct Decisions {
    /// In the order of the listeners. What is asked on their behalf depends on the others, and is not in them yet.
    pub(super) entries: Vec<Entry>,
    /// What they hang on.
    pub(super) ground: Arc<Ground>,
    /// When that has to be done again although nothing changed.
    pub(super) recheck: Option<Instant>,
    /// How many of the verdicts are not those of the picture before.
    pub(super) anew: usize,
}

/// Decides on each of the listeners, which are in the order of a scan.
pub(super) fn decide(listeners: &[Arc<Listener>], inputs: &Inputs<'_>) -> Decisions {
    let ground = Ground::of(inputs);
    let mut former = Former::of(inputs, &ground);
    let bridges = own_addresses(inputs);
    let (mut entries, mut recheck, mut anew) = (Vec::with_capacity(listeners.len()), None, 0_usize);
    for listener in listeners {
        let found = inputs.containers.of(listener, inputs.now);
        let said = inputs.units.of(listener, inputs.now);
        recheck = [recheck, found.until(), said.until()].into_iter().flatten().min();
        let nature = nature(listener, &found, &said, inputs, &bridges);
        let same = former
            .entry(listener)
            .filter(|former| former.stays() && former.nature == nature);
        let (labels, verdict) = match same {
            Some(former) => (former.labels.clone(), Arc::clone(&former.verdict)),
            None => {
                anew += 1;
                let mut labels = labels(listener, &found, &said, &ground);
                let verdict = verdict(listener, &labels, nature, &found, &said, &ground);
                // Neighbours have much in common.
                let last: Option<&Entry> = entries.last();
                labels.share_with(last.map(|last| &last.labels));
                let same = last.map(|last| &last.verdict).filter(|last| ***last == verdict);
                (labels, same.map_or_else(|| Arc::new(verdict), Arc::clone))
            }
        };
        entries.push(Entry {
            listener: Arc::clone(listener),
            labels,
            verdict,
            asked: Asked::Nothing {
                reason: String::new(),
            },
            twin: None,
            nature,
        });
    }
    Decisions {
        entries,
        ground,
        recheck,
        anew,
    }
}

/// The entries of the picture before, where the ground is the same.
struct Former<'a>(Peekable<slice::Iter<'a, Entry>>);

impl<'a> Former<'a> {
    fn of(inputs: &Inputs<'a>, ground: &Arc<Ground>) -> Self {
        let before = inputs.before.filter(|before| Arc::ptr_eq(&before.ground, ground));
        Self(before.map_or(&[][..], |before| &before.entries).iter().peekable())
    }

    /// That of this very listener. Both are in the order of scans; in another one too little would be found, and nothing wrong.
    fn entry(&mut self, listener: &Arc<Listener>) -> Option<&'a Entry> {
        let place = |listener: &Listener| {
            let socket = &listener.socket;
            (socket.protocol, socket.address, socket.id())
        };
        let here = place(listener);
        while self.0.next_if(|former| place(&former.listener) < here).is_some() {}
        self.0.next_if(|former| Arc::ptr_eq(&former.listener, listener))
    }
}

impl Entry {
    /// Whether its labels and its verdict stay while the listener, its nature and the ground do.
    fn stays(&self) -> bool {
        matches!(self.nature, Nature::Foreign | Nature::Plain) && self.twin.is_none()
    }
}

/// Where the bridges of this daemon listen.
fn own_addresses(inputs: &Inputs<'_>) -> BTreeSet<SocketAddr> {
    let addresses = inputs.bridges.values().filter_map(|state| match state {
        BridgeState::Open(address) => Some(*address),
        BridgeState::Failed { .. } => None,
    });
    addresses.collect()
}

fn nature(
    listener: &Listener,
    found: &Found<'_>,
    said: &Said<'_>,
    inputs: &Inputs<'_>,
    bridges: &BTreeSet<SocketAddr>,
) -> Nature {
    let mut holders = listener.owner.iter().flat_map(|owner| &owner.holders);
    let is_own =
        holders.any(|holder| holder.pid == inputs.own_pid) || bridges.contains(&listener.socket.address);
    let is_spoken_for = match (found, said) {
        (Found::Nothing, Said::Known(says)) => !says.is_empty(),
        (Found::Container(_) | Found::Waits { .. }, _) | (Found::Nothing, Said::Waits { .. }) => true,
    };
    match &listener.owner {
        _ if is_own => Nature::Own,
        _ if is_spoken_for => Nature::Spoken,
        None => Nature::Foreign,
        Some(_) => Nature::Plain,
    }
}

fn labels(listener: &Listener, found: &Found<'_>, said: &Said<'_>, ground: &Ground) -> Labels {
    let container = match found {
        Found::Container(container) => Some(*container),
        Found::Nothing | Found::Waits { .. } => None,
    };
    facts::labels(
        listener,
        container,
        said,
        ground.distro.as_deref(),
        &ground.surroundings,
    )
}

fn verdict(
    listener: &Listener,
    labels: &Labels,
    nature: Nature,
    found: &Found<'_>,
    said: &Said<'_>,
    ground: &Ground,
) -> Verdict {
    match (&listener.owner, found) {
        _ if !listener.is_decided => Verdict::Wait {
            reason: "it is being found out which processes hold it".to_owned(),
        },
        (None, _) => Verdict::not_ours(),
        (Some(_), _) if nature == Nature::Own => Verdict::own_bridge(),
        (Some(_), Found::Waits { reason, .. }) => Verdict::Wait {
            reason: reason.clone(),
        },
        (Some(owner), Found::Nothing | Found::Container(_)) => {
            let Ground {
                policy, surroundings, ..
            } = ground;
            let verdict = policy.decide(&listener.socket, labels, &owner.declared, surroundings);
            match said {
                // A unit can narrow what is shared, so what is private anyway need not wait for it.
                Said::Waits { reason, .. } if verdict.is_expose() => Verdict::Wait {
                    reason: reason.clone(),
                },
                Said::Waits { .. } | Said::Known(_) => verdict,
            }
        }
    }
}

#[cfg(test)]
mod tests;
