//! Everything that the daemon knows at one moment, joined into one value. Pure: the set that is pushed, the status line,
//! `list` and `explain` are all made from it, so they cannot disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use wslnet_console::text::clean;
use wslnet_protocol::{Forward, ForwardId, ForwardSet, limits};

use crate::damper::Held;
use crate::labels::Labels;
use crate::network::{NetworkMode, NetworkView};
use crate::observe::{Listener, Observed};
use crate::policy::{Decided, Outcome, Policy, Port, Surroundings, Verdict, Wanted, wanted};
use crate::push::CompanionView;

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
    /// Nothing, as Windows grants no more forwards.
    OverLimit {
        /// How many it grants.
        limit: usize,
    },
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
        let granted = granted(&ports, inputs.held, inputs.companion.max_forwards);
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
            }
        });
        Self {
            mode: inputs.mode.clone(),
            vm_address: inputs.network.vm_address().map(IpAddr::from),
            companion: inputs.companion.clone(),
            entries: entries.collect(),
            source: inputs.observed.last.as_ref().map(|last| last.source.to_string()),
            scan_error: inputs.observed.trouble.clone(),
            config_error: inputs.config_error.map(str::to_owned),
        }
    }

    /// The set to push; `None` while nothing is known about listeners. `pushed` are the forwards that were asked for
    /// before: those whose listener lives on and is private now are revoked.
    pub fn set(&self, pushed: &BTreeSet<ForwardId>) -> Option<ForwardSet> {
        self.source.as_ref()?;
        let mut forwards = BTreeMap::new();
        let mut revoked = BTreeSet::new();
        for entry in &self.entries {
            match &entry.asked {
                Asked::Forward(wanted) => {
                    let forward = forwards
                        .entry(wanted.listen_port)
                        .or_insert_with(|| forward(entry, wanted));
                    add_labels(&mut forward.labels, &entry.listener.labels);
                }
                Asked::Nothing { .. } => {
                    revoked.insert(ForwardId(entry.listener.socket.id()));
                }
                Asked::Waits { .. } | Asked::OverLimit { .. } => {}
            }
        }
        let mut forwards = forwards.into_values().collect::<Vec<_>>();
        shorten(&mut forwards);
        for forward in &forwards {
            revoked.remove(&forward.id);
        }
        let revoked = revoked
            .intersection(pushed)
            .copied()
            .take(limits::FORWARDS_IN_SET)
            .collect();
        Some(ForwardSet { forwards, revoked })
    }
}

fn surroundings(inputs: &Inputs<'_>) -> Surroundings {
    let peer_is_v6 = match (inputs.companion.peer, inputs.companion.address) {
        (Some(peer), _) => peer.is_ipv6(),
        (None, Some(address)) => address.is_ipv6(),
        (None, None) => false,
    };
    let mut surroundings = Surroundings::new(inputs.network, inputs.mode.mode.clone(), peer_is_v6);
    // What Windows dials is the VM's own address, wherever the default route points.
    surroundings.vm_addresses.extend(inputs.companion.peer);
    surroundings
}

/// The ports that may be asked for now: not flapping, and as many as Windows grants, the lowest first.
fn granted(ports: &[Port], held: &Held, limit: usize) -> BTreeSet<u16> {
    let wanted = ports
        .iter()
        .filter(|port| matches!(port.outcome, Outcome::Wanted(_)));
    wanted
        .map(|port| port.port)
        .filter(|port| !held.until.contains_key(port))
        .take(limit)
        .collect()
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
            Some(until) => {
                let seconds = until.saturating_duration_since(inputs.now).as_secs() + 1;
                Asked::Waits {
                    reason: format!("it keeps coming and going; it is shared if it stays for {seconds} s"),
                }
            }
            None => Asked::OverLimit {
                limit: inputs.companion.max_forwards,
            },
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
