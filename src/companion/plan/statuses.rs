//! What to tell a distro of its forwards, once the actions were executed.

use std::collections::BTreeSet;

use wslnet_protocol::{ForwardId, ForwardState, ForwardStatus};

use super::{Actual, Applied, Desired, Outcome, Relay};

/// The state of each forward of the distro, in the order of its set.
pub fn statuses(desired: &Desired, actual: &Actual, distro: &str) -> Vec<ForwardStatus> {
    let outcomes = desired.outcomes.get(distro).map_or(&[][..], Vec::as_slice);
    let status = |(id, outcome): &(ForwardId, Outcome)| match outcome {
        Outcome::Settled(verdict) => ForwardStatus {
            id: *id,
            state: verdict.state,
            reason: verdict.reason.clone(),
            listen: vec![],
        },
        Outcome::Relayed(key) => {
            let relay = desired.relays.get(key);
            let applied = actual
                .relays
                .get(key)
                .filter(|applied| relay.is_some_and(|relay| relay.is(applied)));
            relayed(*id, relay, applied)
        }
    };
    outcomes.iter().map(status).collect()
}

fn relayed(id: ForwardId, relay: Option<&Relay>, applied: Option<&Applied>) -> ForwardStatus {
    let pending = |reason: &str| ForwardStatus {
        id,
        state: ForwardState::Pending,
        reason: reason.to_owned(),
        listen: vec![],
    };
    let (Some(relay), Some(applied)) = (relay, applied) else {
        return pending("it is being opened");
    };
    if relay.listen.is_empty() {
        return pending(
            "no network interface of Windows is fit for it: connect Windows to a network, or shorten \
             `exclude-interfaces` in companion.toml",
        );
    }
    let failures: Vec<_> = relay
        .listen
        .iter()
        .filter_map(|address| applied.failed.get(address))
        .collect();
    // One reason often fits several addresses.
    let reasons: BTreeSet<&str> = failures.iter().map(|failure| failure.reason.as_str()).collect();
    let reason = reasons.into_iter().collect::<Vec<_>>().join("; ");
    let listen: Vec<_> = applied.listening.intersection(&relay.listen).copied().collect();
    let state = if !listen.is_empty() {
        ForwardState::Active
    } else if failures.iter().any(|failure| failure.conflict) {
        ForwardState::Conflict
    } else {
        ForwardState::Pending
    };
    if listen.is_empty() && reason.is_empty() {
        return pending("it is being opened");
    }
    ForwardStatus {
        id,
        state,
        reason,
        listen,
    }
}
