//! The difference between what should be and what is, as things to do.

use std::net::SocketAddr;

use wslnet_relay::Connections;

use super::{Action, Actual, Applied, Desired, Outcome, loopback_gap};
use crate::ledger::{Claims, Key};

/// What to do, in the order in which to do it. `retry` asks that addresses which failed be tried again; without it they
/// are left as they are, so that a port which somebody else holds does not make every change cost a bind.
pub fn actions(desired: &Desired, actual: &Actual, claims: &Claims<'_>, retry: bool) -> Vec<Action> {
    let (mut actions, mut changes) = (Vec::new(), Vec::new());
    let survivor = |key: Key, applied: &Applied| {
        let relay = desired.relays.get(&key)?;
        relay.continues(applied, claims).then_some(relay)
    };
    for (&key, applied) in &actual.relays {
        let Some(relay) = survivor(key, applied) else {
            actions.push(Action::Close {
                key,
                connections: connections_of(applied, desired, claims),
            });
            continue;
        };
        let known = applied.listening.iter().chain(applied.failed.keys());
        let unwanted = known.filter(|address| !relay.wants(address));
        actions.extend(unwanted.map(|&address| Action::Unlisten { key, address }));
        if relay.id != applied.id {
            changes.push(Action::Adopt { key, id: relay.id });
        }
        if relay.target != applied.target {
            changes.push(Action::Retarget {
                key,
                target: relay.target,
            });
        }
    }
    actions.append(&mut changes);

    for (&key, relay) in &desired.relays {
        let applied = actual
            .relays
            .get(&key)
            .filter(|applied| relay.continues(applied, claims));
        if applied.is_none() {
            let (distro, id, target) = (relay.distro.clone(), relay.id, relay.target);
            actions.push(Action::Open {
                key,
                distro,
                id,
                target,
            });
        }
        let is_due = |address: &SocketAddr| match applied {
            Some(applied) if applied.listening.contains(address) => false,
            Some(applied) => retry || !applied.failed.contains_key(address),
            None => true,
        };
        let due = relay.listen.iter().filter(|address| is_due(address));
        actions.extend(due.map(|&address| Action::Listen { key, address }));
        if relay.fills_gap && is_due(&loopback_gap(key.port)) {
            actions.push(Action::FillGap { key });
        }
    }
    actions
}

/// Whether the connections of a relay that closes may go on. See the text of [`super`].
fn connections_of(applied: &Applied, desired: &Desired, claims: &Claims<'_>) -> Connections {
    let Some(distro) = claims.distros.get(applied.distro.as_str()) else {
        return Connections::Cut;
    };
    let outcomes = desired
        .outcomes
        .get(&applied.distro)
        .map_or(&[][..], Vec::as_slice);
    let is_withheld = outcomes
        .iter()
        .any(|(id, outcome)| *id == applied.id && matches!(outcome, Outcome::Settled(_)));
    if is_withheld || distro.revoked.contains(&applied.id) {
        Connections::Cut
    } else {
        Connections::Drain
    }
}
