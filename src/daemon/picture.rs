//! Everything that the daemon knows at one moment, joined into one value. Pure: the set that is pushed, the status line,
//! `list` and `explain` are all made from it, so they cannot disagree.

mod asked;
mod claims;
mod decide;
mod display;
mod facts;
mod pushed;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use wslnet_protocol::{Forward, ForwardId, ForwardSet, limits};

use self::asked::{Granted, asked, bridges, granted, pair};
use self::decide::{Decisions, Ground, decide};
use self::display::Display;
use crate::bridge::{Bridge, BridgeStates, BridgeWants};
use crate::containers::Containers;
use crate::damper::Held;
use crate::labels::Labels;
use crate::listeners::TransportPort;
use crate::network::{NetworkMode, NetworkView};
use crate::observe::{Listener, Observed};
use crate::policy::{Decided, Policy, Port, Surroundings, Verdict, Wanted, wanted};
use crate::push::CompanionView;
use crate::units::Units;

pub use pushed::Pushed;

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
    pub policy: &'a Arc<Policy>,
    /// Ports that flap.
    pub held: &'a Held,
    /// What the container engines say.
    pub containers: &'a Containers,
    /// What the units of services say.
    pub units: &'a Units,
    /// The bridges to services on loopback, by the ids of those.
    pub bridges: &'a BridgeStates,
    /// The name of this distro.
    pub distro: Option<&'a str>,
    /// Whether the rules ask for that name and nobody tells it.
    pub distro_is_missing: bool,
    /// This daemon's process id: what it listens on itself is no service.
    pub own_pid: i32,
    /// The other side.
    pub companion: &'a CompanionView,
    /// What is in the distro's hosts file, if names are kept there.
    pub hosts: Option<&'a str>,
    /// Why the last changed configuration was refused.
    pub config_error: Option<&'a str>,
    /// The picture before this one, whose verdicts stay where nothing that they hang on is new.
    pub before: Option<&'a Picture>,
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
    /// The bridges that should be open, by the ids of the listeners to which they lead.
    pub bridges: BTreeMap<u64, Bridge>,
    /// The name of this distro.
    pub distro: Option<String>,
    /// Whether the rules ask for that name and nobody tells it.
    pub distro_is_missing: bool,
    /// What keeps labels of containers from being known.
    pub container_troubles: BTreeSet<String>,
    /// Why it is not known what units say of their services.
    pub unit_trouble: Option<String>,
    /// When the picture has to be joined anew although nothing changed.
    pub recheck: Option<Instant>,
    /// How listeners are found; `None` before the first scan.
    pub source: Option<String>,
    /// How it is learnt that there is something new; `None` before the first scan.
    pub wake_up: Option<String>,
    /// Why scans fail at the moment.
    pub scan_error: Option<String>,
    /// What is in the distro's hosts file, if names are kept there.
    pub hosts: Option<String>,
    /// Why the last changed configuration was refused.
    pub config_error: Option<String>,
    /// What the verdicts hang on besides their listeners.
    ground: Arc<Ground>,
}

/// One listener and what becomes of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The listener.
    pub listener: Arc<Listener>,
    /// All its labels.
    pub labels: Labels,
    /// What the policy says of it alone.
    pub verdict: Arc<Verdict>,
    /// What is asked of Windows on its behalf.
    pub asked: Asked,
    /// The forward by which its port is shared all the same: that of the IPv4 half of a pair of sockets, of which this
    /// is the IPv6 half. Windows speaks IPv4 with the VM, so this half withholds nothing from anybody.
    pub twin: Option<ForwardId>,
    /// What the listener is to this daemon.
    nature: Nature,
}

/// What a listener is to this daemon, besides what the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    /// It is not of this distro.
    Foreign,
    /// The daemon listens there itself.
    Own,
    /// A container or a unit has a say in it, or will have.
    Spoken,
    /// Nobody but the policy has: its labels and its verdict follow from the listener and the [`Ground`].
    Plain,
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
        let last = inputs.observed.last.as_ref();
        let listeners = last.map(|last| last.listeners.as_slice()).unwrap_or_default();
        let Decisions {
            mut entries,
            ground,
            recheck,
            anew,
        } = decide(listeners, inputs);
        tracing::trace!(listeners = listeners.len(), anew, "decided");
        let surroundings = &ground.surroundings;

        let services = entries.iter().filter(|entry| entry.nature != Nature::Own);
        let decided = services.map(|entry| Decided {
            socket: &entry.listener.socket,
            verdict: &entry.verdict,
        });
        let mut ports = wanted(&decided.collect::<Vec<_>>(), surroundings);
        let since = listeners
            .iter()
            .map(|listener| (listener.socket.id(), listener.since));
        claims::settle(&mut ports, &since.collect());
        let held = held(&ports, listeners, inputs.held);
        let granted = granted(&ports, &held);
        let bridges = bridges(&ports, &granted, surroundings);
        for entry in &mut entries {
            let port = ports.binary_search_by_key(&entry.listener.socket.port(), |port| port.port);
            let port = port.ok().and_then(|index| ports.get(index));
            entry.asked = asked(
                entry,
                port,
                &Granted {
                    ports: &granted,
                    held: &held,
                },
                inputs,
            );
        }
        pair(&mut entries);
        Self {
            mode: inputs.mode.clone(),
            vm_address: inputs.network.vm_address().map(IpAddr::from),
            companion: inputs.companion.clone(),
            entries,
            bridges,
            distro: inputs.distro.map(str::to_owned),
            distro_is_missing: inputs.distro_is_missing,
            container_troubles: inputs.containers.troubles(listeners, inputs.now),
            unit_trouble: inputs.units.trouble().map(str::to_owned),
            recheck,
            source: last.map(|last| last.source.to_string()),
            wake_up: last.map(|last| last.wake_up.text.clone()),
            scan_error: inputs.observed.trouble.clone(),
            hosts: inputs.hosts.map(str::to_owned),
            config_error: inputs.config_error.map(str::to_owned),
            ground,
        }
    }

    /// The set to push; `None` while nothing is known about listeners.
    pub fn set(&self, pushed: &Pushed) -> Option<ForwardSet> {
        self.source.as_ref()?;
        let mut forwards = BTreeMap::new();
        let mut display = Display::default();
        for entry in &self.entries {
            if let Asked::Forward(wanted) = &entry.asked {
                let (_, forward) = forwards
                    .entry((entry.listener.socket.protocol, wanted.listen_port))
                    .or_insert_with(|| (entry.listener.socket.port(), forward(entry, wanted)));
                display.add(&mut forward.labels, &entry.labels);
            }
        }
        let mut forwards = forwards.into_values().collect::<Vec<_>>();
        // The lowest port first, but what is open stays open.
        forwards.sort_by_key(|(port, _)| !pushed.is_established(*port));
        let ids = forwards.iter().map(|(port, forward)| (*port, forward.id));
        let revoked = pushed.revoked(self, &ids.collect());
        let mut forwards = forwards
            .into_iter()
            .map(|(_, forward)| forward)
            .collect::<Vec<_>>();
        shorten(&mut forwards);
        Some(ForwardSet { forwards, revoked })
    }

    /// What is asked of the bridges: those that should be, and the services on loopback that must no longer be reached.
    pub fn bridge_wants(&self) -> BridgeWants {
        let private = self.entries.iter().filter(|entry| {
            entry.is_ours()
                && entry.listener.socket.is_loopback()
                && matches!(entry.asked, Asked::Nothing { .. })
        });
        let ids = private.map(|entry| entry.listener.socket.id());
        let companion = self.companion.address.filter(|_| self.companion.peer.is_some());
        BridgeWants {
            bridges: self.bridges.clone(),
            revoked: ids.filter(|id| !self.bridges.contains_key(id)).collect(),
            companion: companion.map(|address| address.ip()),
        }
    }
}

/// The ports that flap.
fn held(ports: &[Port], listeners: &[Arc<Listener>], held: &Held) -> BTreeSet<TransportPort> {
    if held.until.is_empty() {
        return BTreeSet::new();
    }
    let users = listeners
        .iter()
        .map(|listener| (listener.socket.id(), listener.socket.uid));
    let users = users.collect::<BTreeMap<_, _>>();
    let users = |port: &Port| {
        port.receivers
            .iter()
            .filter_map(|id| users.get(id).copied())
            .collect::<Vec<_>>()
    };
    let held = ports
        .iter()
        .filter(|port| held.holds(port.port, users(port).into_iter()));
    held.map(|port| port.port).collect()
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

fn forward(entry: &Entry, wanted: &Wanted) -> Forward {
    Forward {
        id: ForwardId(wanted.id),
        protocol: entry.listener.socket.protocol,
        port: wanted.port,
        bind: wanted.bind,
        listen_port: wanted.listen_port,
        auto: wanted.auto,
        loopback_gap: wanted.loopback_gap,
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

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
