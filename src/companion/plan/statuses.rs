//! What to tell a distro of its forwards, once the actions were executed.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use wslnet_protocol::{ForwardId, ForwardState, ForwardStatus, Reach};

use super::{
    Actual, Applied, Desired, Failure, LeftOut, Opinions, Outcome, Place, Relay, Stage, Stuck, shared,
};

/// The state of each forward of the distro, in the order of its set.
pub fn statuses(desired: &Desired, actual: &Actual, opinions: &Opinions, distro: &str) -> Vec<ForwardStatus> {
    let outcomes = desired.outcomes.get(distro).map_or(&[][..], Vec::as_slice);
    let status = |(id, outcome): &(ForwardId, Outcome)| match outcome {
        Outcome::Settled(verdict) => ForwardStatus {
            id: *id,
            state: verdict.state,
            reason: verdict.reason.clone(),
            listen: vec![],
        },
        Outcome::Opened(key) => desired.openings.get(key).map_or_else(
            // Both are made in one step.
            || relayed(*id, None, None, &desired.left_out),
            |opening| shared::status(opening, *key, opinions, &desired.left_out),
        ),
        Outcome::Relayed(key) => {
            let relay = desired.relays.get(key);
            let applied = actual
                .relays
                .get(key)
                .filter(|applied| relay.is_some_and(|relay| relay.is(applied)));
            let status = relayed(*id, relay, applied, &desired.left_out);
            match relay.and_then(|relay| relay.place.as_ref()) {
                Some(place) => elsewhere(status, place),
                None => status,
            }
        }
    };
    outcomes.iter().map(status).collect()
}

fn relayed(
    id: ForwardId,
    relay: Option<&Relay>,
    applied: Option<&Applied>,
    left_out: &[LeftOut],
) -> ForwardStatus {
    let being_opened = || (ForwardState::Pending, "it is being opened".to_owned());
    let (Some(relay), Some(applied)) = (relay, applied) else {
        let (state, reason) = being_opened();
        return ForwardStatus {
            id,
            state,
            reason,
            listen: vec![],
        };
    };
    let mut listen: Vec<_> = applied
        .listening
        .iter()
        .filter(|address| relay.wants(address))
        .copied()
        .collect();
    // What others can reach comes first.
    listen.sort_by_key(|address| address.ip().is_loopback());
    let failures: Vec<(&SocketAddr, &Failure)> = applied
        .failed
        .iter()
        .filter(|(address, _)| relay.wants(address))
        .collect();
    // One reason often fits several addresses.
    let reasons: BTreeSet<&str> = failures
        .iter()
        .map(|(_, failure)| failure.reason.as_str())
        .collect();
    let reason = reasons.into_iter().collect::<Vec<_>>().join("; ");

    // What was asked for decides: on networks, 127.0.0.1 is merely an addition.
    let counts = |address: &SocketAddr| match relay.reach {
        Reach::Host => true,
        Reach::Lan => relay.listen.contains(address),
    };
    let is_conflict =
        |(address, failure): &(&SocketAddr, &Failure)| counts(address) && failure.conflict.is_some();
    let (state, reason) = if relay.reach == Reach::Lan && relay.listen.is_empty() {
        (ForwardState::Pending, nowhere(left_out))
    } else if listen.iter().any(counts) {
        (ForwardState::Active, and(&relay.note, &reason))
    } else if failures.iter().any(is_conflict) {
        (ForwardState::Conflict, and(&relay.note, &reason))
    } else if let Some(stuck) = failures.iter().find_map(|(_, failure)| failure.stuck) {
        let state = match stuck {
            Stuck::Denied => ForwardState::Denied,
            Stuck::Contended => ForwardState::Contended,
        };
        (state, and(&relay.note, &reason))
    } else if !failures.iter().any(|(address, _)| counts(address)) {
        being_opened()
    } else {
        (ForwardState::Pending, and(&relay.note, &reason))
    };
    ForwardStatus {
        id,
        state,
        reason,
        listen,
    }
}

/// Why there is no address for it.
pub(super) fn nowhere(left_out: &[LeftOut]) -> String {
    if left_out.is_empty() {
        return "no network interface of Windows is fit for it: connect Windows to a network, or shorten `exclude-interfaces` \
                in companion.toml"
            .to_owned();
    }
    left_out
        .iter()
        .map(LeftOut::reason)
        .collect::<Vec<_>>()
        .join("; ")
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
    match (first, second) {
        ("", only) | (only, "") => only.to_owned(),
        _ => format!("{first}; {second}"),
    }
}
