//! Everything that the daemon knows at one moment, joined into one value. Pure: the set that is pushed, the status line,
//! `list` and `explain` are all made from it, so they cannot disagree.

mod pushed;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use wslnet_console::text::clean;
use wslnet_protocol::{Forward, ForwardId, ForwardSet, limits};

use crate::damper::Held;
use crate::labels::Labels;
use crate::network::{NetworkMode, NetworkView};
use crate::observe::{Listener, Observed};
use crate::policy::{Decided, DecidedBy, Outcome, Policy, Port, Surroundings, Verdict, Wanted, wanted};
use crate::push::CompanionView;

pub use pushed::Pushed;

/// Labels that say who is behind a port; the others are in the forward already.
const DISPLAYED: [&str; 3] = ["process", "user", "exe"];

/// How many bytes of labels a set may carry. They are for display; the ports must always fit into one request.
const LABEL_BYTES: usize = limits::BODY_BYTES / 4;

/// The networking mode, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeView {
    /// The mode; one of an unknown name while it could not be found out.
    pub mode: NetworkMode,
    /// How it is known, or why not.
    pub source: String,
}

/// What a picture is made of.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The listeners.
    pub observed: &'a Observed,
    /// Addresses and routes.
    pub network: &'a NetworkView,
    /// The networking mode.
    pub mode: &'a ModeView,
    /// The rules.
    pub policy: &'a Policy,
    /// Ports that flap.
    pub held: &'a Held,
    /// The other side.
    pub companion: &'a CompanionView,
    /// Why the last changed configuration was refused.
    pub config_error: Option<&'a str>,
    /// The moment.
    pub now: Instant,
}

/// All that is known.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The networking mode.
    pub mode: ModeView,
    /// The VM's address as its own network tells.
    pub vm_address: Option<IpAddr>,
    /// The other side.
    pub companion: CompanionView,
    /// Every listener of the network namespace, in order.
    pub entries: Vec<Entry>,
    /// How listeners are found; `None` before the first scan.
    pub source: Option<String>,
    /// Why scans fail at the moment.
    pub scan_error: Option<String>,
    /// Why the last changed configuration was refused.
    pub config_error: Option<String>,
}

/// One listener and what becomes of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The listener.
    pub listener: Listener,
    /// What the policy says of it alone.
    pub verdict: Verdict,
    /// What is asked of Windows on its behalf.
    pub asked: Asked,
    /// The forward by which its port is shared all the same: that of the IPv4 half of a pair of sockets, of which this
    /// is the IPv6 half. Windows speaks IPv4 with the VM, so this half withholds nothing from anybody.
    pub twin: Option<ForwardId>,
}

/// What is asked of Windows on behalf of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// This forward.
    Forward(Wanted),
    /// Nothing, as the policy withholds it or its port.
    Nothing {
        /// Why.
        reason: String,
    },
    /// Nothing yet.
    Waits {
        /// Why, and for how long.
        reason: String,
    },
    /// Nothing, as one request carries no more forwards. How many Windows grants, it says itself.
    OverLimit,
}

impl Entry {
    /// Whether the listener belongs to this distro.
    pub fn is_ours(&self) -> bool {
        self.listener.owner.is_some()
    }

    /// Whether it is, or should be, reachable from Windows.
    pub fn is_exposed(&self) -> bool {
        self.is_ours() && !matches!(self.asked, Asked::Nothing { .. })
    }
}

impl Picture {
    /// Joins the inputs.
    pub fn join(inputs: &Inputs<'_>) -> Self {
        let surroundings = surroundings(inputs);
        let listeners = inputs
            .observed
            .last
            .as_ref()
            .map(|last| last.listeners.as_slice())
            .unwrap_or_default();
        let verdicts = listeners.iter().map(|listener| match listener.owner {
            Some(_) => inputs
                .policy
                .decide(&listener.socket, &listener.labels, &surroundings),
            None => Verdict::not_ours(),
        });
        let verdicts = verdicts.collect::<Vec<_>>();
        let decided = listeners.iter().zip(&verdicts);
        let decided = decided.map(|(listener, verdict)| Decided {
            socket: &listener.socket,
            verdict,
        });
        let ports = wanted(&decided.collect::<Vec<_>>(), &surroundings);
        let granted = granted(&ports, inputs.held);
        let ports = ports
            .iter()
            .map(|port| (port.port, port))
            .collect::<BTreeMap<_, _>>();

        let entries = listeners.iter().zip(verdicts).map(|(listener, verdict)| {
            let port = ports.get(&listener.socket.address.port()).copied();
            let asked = asked(listener, &verdict, port, &granted, inputs);
            Entry {
                listener: listener.clone(),
                verdict,
                asked,
                twin: None,
            }
        });
        let mut entries = entries.collect::<Vec<_>>();
        pair(&mut entries);
        Self {
            mode: inputs.mode.clone(),
            vm_address: inputs.network.vm_address().map(IpAddr::from),
            companion: inputs.companion.clone(),
            entries,
            source: inputs.observed.last.as_ref().map(|last| last.source.to_string()),
            scan_error: inputs.observed.trouble.clone(),
            config_error: inputs.config_error.map(str::to_owned),
        }
    }

    /// The set to push; `None` while nothing is known about listeners.
    pub fn set(&self, pushed: &Pushed) -> Option<ForwardSet> {
        self.source.as_ref()?;
        let mut forwards = BTreeMap::new();
        for entry in &self.entries {
            if let Asked::Forward(wanted) = &entry.asked {
                let forward = forwards
                    .entry(wanted.listen_port)
                    .or_insert_with(|| forward(entry, wanted));
                add_labels(&mut forward.labels, &entry.listener.labels);
            }
        }
        let mut forwards = forwards.into_values().collect::<Vec<_>>();
        // The lowest port first, but what is open stays open.
        forwards.sort_by_key(|forward| !pushed.is_established(forward.port));
        shorten(&mut forwards);
        let ids = forwards.iter().map(|forward| (forward.port, forward.id));
        let revoked = pushed.revoked(self, &ids.collect());
        Some(ForwardSet { forwards, revoked })
    }
}

fn surroundings(inputs: &Inputs<'_>) -> Surroundings {
    let peer_is_v6 = match (inputs.companion.peer, inputs.companion.address) {
        (Some(peer), _) => peer.is_ipv6(),
        (None, Some(address)) => address.is_ipv6(),
        (None, None) => false,
    };
    let surroundings = Surroundings::new(inputs.network, inputs.mode.mode.clone(), peer_is_v6);
    match inputs.companion.peer {
        Some(peer) => surroundings.dialled_at(peer),
        None => surroundings,
    }
}

/// The ports that may be asked for now: not flapping, and as many as fit into one set, the lowest first.
fn granted(ports: &[Port], held: &Held) -> BTreeSet<u16> {
    let wanted = ports
        .iter()
        .filter(|port| matches!(port.outcome, Outcome::Wanted(_)));
    wanted
        .map(|port| port.port)
        .filter(|port| !held.until.contains_key(port))
        .take(limits::FORWARDS_IN_SET)
        .collect()
}

/// Finds the IPv6 halves of programs that open a socket for each family, and says by what they are shared.
fn pair(entries: &mut [Entry]) {
    let mut v4_halves = BTreeMap::new();
    let mut v6_halves = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let socket = &entry.listener.socket;
        match &entry.asked {
            Asked::Forward(wanted) if socket.address.ip() == Ipv4Addr::UNSPECIFIED => {
                v4_halves.insert(socket.address.port(), (index, ForwardId(wanted.id)));
            }
            // Not if it is withheld for another reason, such as an opt-out.
            Asked::Nothing { .. }
                if socket.is_wildcard()
                    && socket.v6only == Some(true)
                    && *entry.verdict.decided_by() == DecidedBy::Binding =>
            {
                v6_halves.push((socket.address.port(), index));
            }
            Asked::Forward(_) | Asked::Nothing { .. } | Asked::Waits { .. } | Asked::OverLimit => {}
        }
    }
    for (port, index) in v6_halves {
        let Some((other, id)) = v4_halves.get(&port) else {
            continue;
        };
        if have_one_owner(&entries[index].listener, &entries[*other].listener) {
            let shared_by = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            let reason = format!("IPv6 only; the port is shared through {shared_by}");
            let half = &mut entries[index];
            half.twin = Some(*id);
            half.asked = Asked::Nothing {
                reason: reason.clone(),
            };
            half.verdict = Verdict::Withhold {
                reason,
                decided_by: DecidedBy::Binding,
            };
        }
    }
}

/// Whether some process holds both.
fn have_one_owner(one: &Listener, other: &Listener) -> bool {
    let holders = |listener: &Listener| {
        let holders = listener.owner.iter().flat_map(|owner| &owner.holders);
        holders.map(|holder| holder.pid).collect::<BTreeSet<_>>()
    };
    !holders(one).is_disjoint(&holders(other))
}

fn asked(
    listener: &Listener,
    verdict: &Verdict,
    port: Option<&Port>,
    granted: &BTreeSet<u16>,
    inputs: &Inputs<'_>,
) -> Asked {
    if let Verdict::Withhold { reason, .. } = verdict {
        return Asked::Nothing {
            reason: reason.clone(),
        };
    }
    let number = listener.socket.address.port();
    let meets = |port: &&Port| port.receivers.contains(&listener.socket.id());
    match port.filter(meets).map(|port| &port.outcome) {
        Some(Outcome::Withheld { reason }) => Asked::Nothing {
            reason: reason.clone(),
        },
        Some(Outcome::Wanted(wanted)) if granted.contains(&number) => Asked::Forward(wanted.clone()),
        Some(Outcome::Wanted(_)) => match inputs.held.until.get(&number) {
            Some(_) => Asked::Waits {
                reason: "it came and went too often; it is shared again when it has stayed for a while, a minute at most"
                    .to_owned(),
            },
            None => Asked::OverLimit,
        },
        None => Asked::Nothing {
            reason: "what Windows dials meets another socket of this port".to_owned(),
        },
    }
}

fn forward(entry: &Entry, wanted: &Wanted) -> Forward {
    Forward {
        id: ForwardId(wanted.id),
        protocol: entry.listener.socket.protocol,
        port: entry.listener.socket.address.port(),
        bind: wanted.bind,
        listen_port: wanted.listen_port,
        auto: false,
        reach: wanted.reach,
        name: wanted.name.clone(),
        labels: Vec::new(),
    }
}

/// Takes the labels from the forwards at which they exceed their share.
fn shorten(forwards: &mut [Forward]) {
    let mut left = LABEL_BYTES;
    for forward in forwards {
        let bytes = forward.labels.iter().map(String::len).sum();
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => forward.labels.clear(),
        }
    }
}

fn add_labels(display: &mut Vec<String>, labels: &Labels) {
    for label in labels
        .iter()
        .filter(|label| DISPLAYED.contains(&label.key.as_str()))
    {
        let text = clean(label.to_string(), limits::TEXT_CHARS);
        if display.len() < limits::LABELS && !display.contains(&text) {
            display.push(text);
        }
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
