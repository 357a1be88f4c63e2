//! What to tell a distro of its forwards, once the actions were executed.

use std::collections::BTreeSet;

use wslnet_protocol::{ForwardId, ForwardState, ForwardStatus};

use super::{Actual, Applied, Desired, Failure, Outcome, Place, Relay, Stage, Stuck};

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
            let status = relayed(*id, relay, applied);
            match relay.and_then(|relay| relay.place.as_ref()) {
                Some(place) => elsewhere(status, place),
                None => status,
            }
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
    let failures: Vec<&Failure> = relay
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
    } else if failures.iter().any(|failure| failure.conflict.is_some()) {
        ForwardState::Conflict
    } else if let Some(stuck) = failures.iter().find_map(|failure| failure.stuck) {
        match stuck {
            Stuck::Denied => ForwardState::Denied,
            Stuck::Contended => ForwardState::Contended,
        }
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

/// Says what the search for another port means for the state.
fn elsewhere(status: ForwardStatus, place: &Place) -> ForwardStatus {
    let Place {
        port,
        wanted,
        why,
        stage,
    } = place;
    let why = why.as_deref().unwrap_or("the port was taken");
    let (state, reason) = match (status.state, stage) {
        (ForwardState::Conflict, Stage::Tried) => (
            ForwardState::Pending,
            format!("{}; another port is being looked for", status.reason),
        ),
        // The same text for each port that is tried: a state that changes all the time tells nothing.
        (ForwardState::Conflict, Stage::TriedAgain) => (
            ForwardState::Conflict,
            format!(
                "{why}, and none of the ports after it could be had: stop what has it, or let the service in the distro \
                 listen on another port"
            ),
        ),
        (state, _) if port == wanted => (state, status.reason),
        (ForwardState::Active, _) => (
            ForwardState::Active,
            and(&format!("{why}; listens at {port} instead"), &status.reason),
        ),
        (state, _) => (
            state,
            and(&format!("{why}; it has port {port} instead"), &status.reason),
        ),
    };
    ForwardStatus {
        state,
        reason,
        ..status
    }
}

fn and(first: &str, second: &str) -> String {
    if second.is_empty() {
        first.to_owned()
    } else {
        format!("{first}; {second}")
    }
}
