//! What is asked of Windows on behalf of each listener, once all verdicts are known.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use wslnet_protocol::{ForwardId, limits};

use super::{Asked, Entry, Inputs};
use crate::bridge::{Bridge, BridgeState};
use crate::listeners::TransportPort;
use crate::policy::{DecidedBy, Outcome, Port, Surroundings, Verdict, Wanted};

/// Which ports may be asked for now, and which of the others flap.
pub(super) struct Granted<'a> {
    pub(super) ports: &'a BTreeSet<TransportPort>,
    pub(super) held: &'a BTreeSet<TransportPort>,
}

/// The ports that may be asked for now: not flapping, and as many as fit into one set, the lowest first.
pub(super) fn granted(ports: &[Port], held: &BTreeSet<TransportPort>) -> BTreeSet<TransportPort> {
    let wanted = ports
        .iter()
        .filter(|port| matches!(port.outcome, Outcome::Wanted(_)));
    wanted
        .map(|port| port.port)
        .filter(|port| !held.contains(port))
        .take(limits::FORWARDS_IN_SET)
        .collect()
}

/// The bridges that should be open. Where the VM's address is not known there is no place for any.
pub(super) fn bridges(
    ports: &[Port],
    granted: &BTreeSet<TransportPort>,
    surroundings: &Surroundings,
) -> BTreeMap<u64, Bridge> {
    let Some(address) = surroundings.vm_addresses.first().copied() else {
        return BTreeMap::new();
    };
    let ports = ports.iter().filter(|port| granted.contains(&port.port));
    ports
        .filter_map(|port| match &port.outcome {
            Outcome::Wanted(wanted) => {
                let target = wanted.bridge_to?;
                let port = port.port.number;
                Some((
                    wanted.id,
                    Bridge {
                        address,
                        port,
                        target,
                    },
                ))
            }
            Outcome::Withheld { .. } | Outcome::Waits { .. } => None,
        })
        .collect()
}

/// Finds the IPv6 halves of programs that open a socket for each family, and says by what they are shared.
pub(super) fn pair(entries: &mut [Entry]) {
    let mut v4_halves = BTreeMap::new();
    let mut v6_halves = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let socket = &entry.listener.socket;
        match &entry.asked {
            Asked::Forward(wanted) if socket.address.ip() == Ipv4Addr::UNSPECIFIED => {
                v4_halves.insert(socket.port(), (index, ForwardId(wanted.id)));
            }
            // Not if it is withheld for another reason, such as an opt-out.
            Asked::Nothing { .. }
                if socket.is_wildcard()
                    && socket.v6only == Some(true)
                    && entry.verdict.decided_by() == Some(&DecidedBy::Binding) =>
            {
                v6_halves.push((socket.port(), index));
            }
            Asked::Forward(_) | Asked::Nothing { .. } | Asked::Waits { .. } | Asked::OverLimit => {}
        }
    }
    for (port, index) in v6_halves {
        let Some((other, id)) = v4_halves.get(&port) else {
            continue;
        };
        if belong_together(&entries[index], &entries[*other]) {
            let shared_by = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.number));
            let reason = format!("IPv6 only; the port is shared through {shared_by}");
            let half = &mut entries[index];
            half.twin = Some(*id);
            half.asked = Asked::Nothing {
                reason: reason.clone(),
            };
            half.verdict = Arc::new(Verdict::Withhold {
                reason,
                decided_by: DecidedBy::Binding,
            });
        }
    }
}

/// Whether some process holds both, or both are one container's: for each address that it publishes, Docker has a process.
fn belong_together(one: &Entry, other: &Entry) -> bool {
    let holders = |entry: &Entry| {
        let holders = entry.listener.owner.iter().flat_map(|owner| &owner.holders);
        holders.map(|holder| holder.pid).collect::<BTreeSet<_>>()
    };
    let containers =
        |entry: &Entry| -> BTreeSet<String> { entry.labels.values("container").map(str::to_owned).collect() };
    !holders(one).is_disjoint(&holders(other)) || !containers(one).is_disjoint(&containers(other))
}

pub(super) fn asked(entry: &Entry, port: Option<&Port>, granted: &Granted<'_>, inputs: &Inputs<'_>) -> Asked {
    match &*entry.verdict {
        Verdict::Withhold { reason, .. } => {
            return Asked::Nothing {
                reason: reason.clone(),
            };
        }
        Verdict::Wait { reason } => {
            return Asked::Waits {
                reason: reason.clone(),
            };
        }
        Verdict::Expose(_) => {}
    }
    let socket = &entry.listener.socket;
    let meets = |port: &&Port| port.receivers.contains(&socket.id());
    match port.filter(meets).map(|port| &port.outcome) {
        Some(Outcome::Withheld { reason }) => Asked::Nothing {
            reason: reason.clone(),
        },
        Some(Outcome::Waits { reason }) => Asked::Waits {
            reason: reason.clone(),
        },
        Some(Outcome::Wanted(wanted)) if granted.ports.contains(&socket.port()) => through_bridge(wanted, inputs),
        Some(Outcome::Wanted(_)) if granted.held.contains(&socket.port()) => Asked::Waits {
            reason: "it came and went too often; it is shared again when it has stayed for a while, a minute at most"
                .to_owned(),
        },
        Some(Outcome::Wanted(_)) => Asked::OverLimit,
        None => Asked::Nothing {
            reason: "what Windows dials meets another socket of this port".to_owned(),
        },
    }
}

/// What can be asked for now: a service on loopback needs its bridge first.
fn through_bridge(wanted: &Wanted, inputs: &Inputs<'_>) -> Asked {
    if wanted.bridge_to.is_none() {
        return Asked::Forward(wanted.clone());
    }
    match inputs.bridges.get(&wanted.id) {
        Some(BridgeState::Open(address)) => Asked::Forward(Wanted {
            port: address.port(),
            ..wanted.clone()
        }),
        Some(BridgeState::Failed { reason }) => Asked::Nothing {
            reason: reason.clone(),
        },
        None => Asked::Waits {
            reason: "its bridge is being opened".to_owned(),
        },
    }
}
