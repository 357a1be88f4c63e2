//! A small world for the tests of everything that is made from a picture.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use wslnet_console::diagnose::Source as Text;
use wslnet_protocol::{ForwardId, ForwardStatus, Protocol};

use super::{Inputs, ModeView, Picture};
use crate::bridge::BridgeState;
use crate::config;
use crate::containers::Containers;
use crate::damper::Held;
use crate::labels::{Declared, Owner, Process, labels_of};
use crate::listeners::{Socket, Source, TransportPort, WakeUpView};
use crate::network::{Iface, NetworkMode, NetworkView};
use crate::observe::{Listener, Observation, Observed};
use crate::policy::Policy;
use crate::push::{CompanionView, LinkState};
use crate::units::Units;

/// The VM's address in the small world.
pub(crate) const VM: Ipv4Addr = Ipv4Addr::new(172, 28, 0, 2);

/// The process id of the daemon in the small world.
pub(crate) const OWN_PID: i32 = 4;

/// All that a picture is made of, with sensible beginnings.
pub(crate) struct World {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) config: &'static str,
    pub(crate) mode: ModeView,
    pub(crate) held: Held,
    pub(crate) containers: Containers,
    pub(crate) units: Units,
    pub(crate) bridges: BTreeMap<u64, BridgeState>,
    pub(crate) distro_is_missing: bool,
    pub(crate) companion: CompanionView,
    pub(crate) scanned: bool,
    pub(crate) now: Instant,
}

impl World {
    /// A connected companion and these listeners.
    pub(crate) fn with(listeners: Vec<Listener>) -> Self {
        let companion = CompanionView {
            state: LinkState::Connected,
            address: Some(([172, 28, 0, 1], 9756).into()),
            version: Some("0.1.0".to_owned()),
            reason: String::new(),
            peer: Some(IpAddr::V4(VM)),
            distro: Some("debian".to_owned()),
            ..CompanionView::default()
        };
        Self {
            listeners,
            config: "",
            mode: ModeView {
                mode: NetworkMode::Nat,
                source: "a test".to_owned(),
            },
            held: Held::default(),
            containers: Containers::default(),
            units: Units::default(),
            bridges: BTreeMap::new(),
            distro_is_missing: false,
            companion,
            scanned: true,
            now: Instant::now(),
        }
    }

    /// What Windows made of each forward.
    pub(crate) fn answers(&mut self) -> &mut BTreeMap<ForwardId, ForwardStatus> {
        Arc::make_mut(&mut self.companion.forwards)
    }

    /// The picture of this world.
    pub(crate) fn picture(&self) -> Picture {
        let listeners = self.listeners.iter().cloned().map(Arc::new).collect();
        self.with_inputs(listeners, &self.policy(), None, Picture::join)
    }

    /// What the configuration says.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        let text = Text {
            name: "config.toml".to_owned(),
            text: self.config.to_owned(),
        };
        let config = config::parse(vec![text]).unwrap_or_else(|report| panic!("{report}"));
        Arc::new(Policy::new(&config))
    }

    /// Does something with all that a picture of these listeners is made of, which comes after `before`.
    pub(crate) fn with_inputs<T>(
        &self,
        listeners: Vec<Arc<Listener>>,
        policy: &Arc<Policy>,
        before: Option<&Picture>,
        act: impl FnOnce(&Inputs<'_>) -> T,
    ) -> T {
        let eth0 = Iface {
            name: "eth0".to_owned(),
            addresses: vec![(VM.into(), 20)],
        };
        let network = NetworkView {
            interfaces: BTreeMap::from([(2, eth0)]),
            default_gateway_v4: Some((Ipv4Addr::new(172, 28, 0, 1), 2)),
            default_interfaces: [2].into(),
            ..NetworkView::default()
        };
        let observation = Observation {
            listeners,
            source: Source::SockDiag,
            wake_up: WakeUpView {
                events: true,
                text: "events".to_owned(),
            },
            at: self.now,
            scans: 1,
        };
        let observed = Observed {
            last: self.scanned.then(|| Arc::new(observation)),
            trouble: None,
        };
        act(&Inputs {
            observed: &observed,
            network: &network,
            mode: &self.mode,
            policy,
            held: &self.held,
            containers: &self.containers,
            units: &self.units,
            bridges: &self.bridges,
            distro: (!self.distro_is_missing).then_some("Debian"),
            distro_is_missing: self.distro_is_missing,
            own_pid: OWN_PID,
            companion: &self.companion,
            hosts: None,
            config_error: None,
            before,
            now: self.now,
        })
    }
}

/// A TCP port.
pub(crate) fn tcp(number: u16) -> TransportPort {
    TransportPort {
        protocol: Protocol::Tcp,
        number,
    }
}

/// A listener of this distro, on all addresses.
pub(crate) fn ours(id: u64, port: u16) -> Listener {
    bound(id, Ipv4Addr::UNSPECIFIED.into(), port)
}

/// A listener of this distro, on one address.
pub(crate) fn bound(id: u64, address: IpAddr, port: u16) -> Listener {
    let process = Process {
        pid: 7,
        start_time: 1,
        name: "node".to_owned(),
        exe: Some("/usr/bin/node".to_owned()),
        ..Process::default()
    };
    let owner = Owner {
        holders: vec![process],
        uid: 1000,
        user: Some("ann".to_owned()),
        declared: Declared::Known,
    };
    listener(id, address, port, Some(owner))
}

/// A listener of another distro, on all addresses.
pub(crate) fn foreign(id: u64, port: u16) -> Listener {
    listener(id, Ipv4Addr::UNSPECIFIED.into(), port, None)
}

/// A listener of another distro, on one address.
pub(crate) fn foreign_at(id: u64, address: IpAddr, port: u16) -> Listener {
    listener(id, address, port, None)
}

fn listener(id: u64, address: IpAddr, port: u16, owner: Option<Owner>) -> Listener {
    let socket = Socket {
        protocol: Protocol::Tcp,
        address: (address, port).into(),
        v6only: address.is_ipv6().then_some(false),
        uid: 1000,
        inode: id,
        cookie: Some(id),
        interface: None,
    };
    let labels = labels_of(&socket, owner.as_ref());
    let owner = owner.map(Arc::new);
    Listener {
        socket,
        owner,
        is_decided: true,
        labels,
        since: Instant::now(),
    }
}
