//! What is taken over from the picture before, against pictures that take over nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;
use wslnet_protocol::Protocol;

use super::*;
use crate::allocations::bytes_kept_by;
use crate::containers;
use crate::labels::{Declared, Owner, Process};
use crate::listeners::Socket;
use crate::network::NetworkMode;
use crate::observe::{Attributed, listeners};
use crate::picture::fixture::{OWN_PID, VM, World};
use crate::picture::{Picture, Pushed};
use crate::units::fixture::tell;

/// What may have been written into the configuration.
const CONFIGS: [&str; 6] = [
    "",
    "opt-out = [\"port=8000-8002\"]",
    "opt-out = [\"interface=eth0\", \"container=shop\"]",
    "opt-out = [\"distro=Debian,process=node\"]",
    "[expose]\nreach = \"host\"\n[[rule]]\nwhen = \"port=8001\"\nlisten-port = 8888\nname = \"shop\"\n",
    "[[rule]]\nwhen = \"port=8003,bind=loopback\"\nloopback = \"bridge\"\n[[rule]]\nwhen = \"unit=nginx.service\"\nexpose = false\n",
];
const MODES: [NetworkMode; 3] = [NetworkMode::Nat, NetworkMode::Mirrored, NetworkMode::Bridged];
const ADDRESSES: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V4(VM),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// What can happen between two pictures.
#[derive(Clone, Debug)]
enum Change {
    /// A socket comes: its port, one of the addresses, and whose it is.
    Comes(u16, usize, usize),
    /// One of them goes.
    Goes(usize),
    /// One of them gets another owner.
    Becomes(usize, usize),
    /// The owner of one of them is looked for, or found.
    Decided(usize, bool),
    /// The configuration is read again.
    Config(usize),
    /// WSL's networking mode turns out to be another one.
    Mode(usize),
    /// The session comes from one of the addresses, or ends.
    Peer(Option<usize>),
    /// The distro's name is known, or not.
    Distro(bool),
    /// systemd tells of nginx.service.
    Unit(Option<&'static str>),
    /// Docker tells of its container, at this port.
    Container(u16),
    /// A bridge listens at this port, or none does.
    Bridge(Option<u16>),
    /// So many seconds go by.
    Time(u64),
}

fn change() -> impl Strategy<Value = Change> {
    let port = || 8000..8004_u16;
    let says = proptest::option::of(prop_oneof![Just("off"), Just("host")]);
    prop_oneof![
        6 => (port(), 0..ADDRESSES.len(), 0..WHO).prop_map(|(port, address, who)| Change::Comes(port, address, who)),
        2 => (0..8_usize).prop_map(Change::Goes),
        3 => (0..8_usize, 0..WHO).prop_map(|(which, who)| Change::Becomes(which, who)),
        2 => (0..8_usize, any::<bool>()).prop_map(|(which, is_decided)| Change::Decided(which, is_decided)),
        2 => (0..CONFIGS.len()).prop_map(Change::Config),
        1 => (0..MODES.len()).prop_map(Change::Mode),
        1 => proptest::option::of(0..ADDRESSES.len()).prop_map(Change::Peer),
        1 => any::<bool>().prop_map(Change::Distro),
        1 => says.prop_map(Change::Unit),
        1 => port().prop_map(Change::Container),
        1 => proptest::option::of(port()).prop_map(Change::Bridge),
        1 => (0..12_u64).prop_map(Change::Time),
    ]
}

/// How many there are for [`owner`] to choose from.
const WHO: usize = 8;

fn owner(who: usize) -> Option<Owner> {
    let process = |name: &str, says: Option<&str>, units: &[&str]| Process {
        pid: 7,
        start_time: 1,
        name: name.to_owned(),
        exe: Some(format!("/usr/bin/{name}")),
        units: units.iter().map(|unit| (*unit).to_owned()).collect(),
        says: says.map(str::to_owned),
        ..Process::default()
    };
    let of = |holders: Vec<Process>, declared| {
        Some(Owner {
            holders,
            uid: 0,
            user: Some("root".to_owned()),
            declared,
        })
    };
    match who {
        0 => None,
        1 => of(vec![process("node", Some("off"), &[])], Declared::Known),
        2 => of(vec![process("node", None, &[])], Declared::Pending),
        3 => of(vec![process("nginx", None, &["nginx.service"])], Declared::Known),
        4 => of(vec![process("docker-proxy", None, &[])], Declared::Known),
        5 => {
            let own = Process {
                pid: OWN_PID,
                ..process("wslnetd", None, &[])
            };
            of(vec![own], Declared::Known)
        }
        6 => of(
            vec![process("node", None, &[]), process("worker", Some("host"), &[])],
            Declared::Known,
        ),
        _ => of(vec![process("node", None, &[])], Declared::Known),
    }
}

fn socket(id: u64, address: IpAddr, port: u16) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        address: (address, port).into(),
        v6only: address.is_ipv6().then_some(id.is_multiple_of(2)),
        uid: 0,
        inode: id,
        cookie: Some(id),
        interface: None,
    }
}

/// The sockets with their owners as a daemon has them, and all else.
struct Life {
    world: World,
    policy: Arc<Policy>,
    sockets: Vec<(Socket, Option<Arc<Owner>>)>,
    /// The ids of those whose owners are looked for.
    undecided: BTreeSet<u64>,
    listeners: Vec<Arc<Listener>>,
    count: u64,
}

impl Life {
    fn new() -> Self {
        let world = World::with(Vec::new());
        Self {
            policy: world.policy(),
            world,
            sockets: Vec::new(),
            undecided: BTreeSet::new(),
            listeners: Vec::new(),
            count: 0,
        }
    }

    fn change(&mut self, change: Change) {
        let world = &mut self.world;
        match change {
            Change::Comes(port, address, who) => {
                self.count += 1;
                let socket = socket(self.count, ADDRESSES[address], port);
                self.sockets.push((socket, owner(who).map(Arc::new)));
            }
            Change::Goes(which) if which < self.sockets.len() => drop(self.sockets.remove(which)),
            Change::Goes(_) => {}
            Change::Becomes(which, who) => {
                if let Some((_, place)) = self.sockets.get_mut(which) {
                    *place = owner(who).map(Arc::new);
                }
            }
            Change::Decided(which, is_decided) => {
                let id = self.sockets.get(which).map(|(socket, _)| socket.id());
                if is_decided {
                    self.undecided.retain(|undecided| Some(*undecided) != id);
                } else {
                    self.undecided.extend(id);
                }
            }
            Change::Config(which) => {
                world.config = CONFIGS[which];
                self.policy = world.policy();
            }
            Change::Mode(which) => world.mode.mode = MODES[which].clone(),
            Change::Peer(which) => world.companion.peer = which.map(|which| ADDRESSES[which]),
            Change::Distro(is_known) => world.distro_is_missing = !is_known,
            Change::Unit(says) => tell(&mut world.units, "nginx.service", world.now, says),
            Change::Container(port) => {
                containers::fixture::tell(&mut world.containers, "shop", port, world.now)
            }
            Change::Bridge(port) => {
                let open = port.map(|port| (1, BridgeState::Open((VM, port).into())));
                world.bridges = open.into_iter().collect();
            }
            Change::Time(seconds) => world.now += Duration::from_secs(seconds),
        }
        self.sockets
            .sort_by_key(|(socket, _)| (socket.protocol, socket.address, socket.id()));
        let attributed = self.sockets.iter().map(|(socket, owner)| Attributed {
            socket,
            owner: owner.clone(),
            is_decided: !self.undecided.contains(&socket.id()),
        });
        self.listeners = listeners(&self.listeners, attributed, self.world.now);
    }

    fn picture(&self, before: Option<&Picture>) -> Picture {
        self.world
            .with_inputs(self.listeners.clone(), &self.policy, before, Picture::join)
    }

    /// How many verdicts a picture after this one takes.
    fn anew(&self, before: &Picture) -> usize {
        let count = |inputs: &Inputs<'_>| decide(&self.listeners, inputs).anew;
        self.world
            .with_inputs(self.listeners.clone(), &self.policy, Some(before), count)
    }
}

/// All that is made of a picture, however it is kept in memory.
fn told(picture: &Picture) -> String {
    let entries = picture.entries.iter().map(|entry| {
        let Entry {
            listener,
            labels,
            verdict,
            asked,
            twin,
            nature,
        } = entry;
        format!("{listener:?} {labels} {verdict:?} {asked:?} {twin:?} {nature:?}\n")
    });
    let (bridges, recheck) = (&picture.bridges, picture.recheck);
    let set = picture.set(&Pushed::default());
    format!("{}{bridges:?} {recheck:?} {set:?}", entries.collect::<String>())
}

#[test]
fn the_listeners_of_one_process_take_little_more_memory_than_their_sockets() {
    const LISTENERS: u16 = 1_000;
    let mut life = Life::new();
    let (bytes, kept) = bytes_kept_by(|| {
        for port in (10_000..).take(LISTENERS.into()) {
            let who = life
                .sockets
                .first()
                .map_or_else(|| owner(7).map(Arc::new), |(_, first)| first.clone());
            life.sockets.push((socket(port.into(), ADDRESSES[0], port), who));
        }
        life.change(Change::Time(0));
        life.sockets = Vec::new();
        life.picture(None)
    });

    let each = bytes / isize::try_from(kept.entries.len()).unwrap_or(1);
    assert!(each <= 800, "{each} bytes each");
}

#[test]
fn an_ipv6_half_is_decided_on_again_when_its_ipv4_half_goes() {
    let mut life = Life::new();
    // The second socket is for IPv6 only.
    life.change(Change::Comes(8000, 0, 7));
    life.change(Change::Comes(8000, 3, 7));
    let pair = life.picture(None);

    life.change(Change::Goes(0));
    let half = life.picture(Some(&pair));

    assert!(pair.entries[1].twin.is_some(), "{pair:?}");
    assert_eq!(told(&half), told(&life.picture(None)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_taken_over_is_what_would_be_found_anew(changes in proptest::collection::vec(change(), 1..40)) {
        let mut life = Life::new();
        let mut before = life.picture(None);
        for change in changes {
            life.change(change);
            let picture = life.picture(Some(&before));

            prop_assert_eq!(told(&picture), told(&life.picture(None)));
            prop_assert_eq!(life.anew(&picture) > 0, picture.entries.iter().any(|entry| !entry.stays()));
            before = picture;
        }
    }
}

#[test]
fn one_more_listener_among_thousands_is_the_only_one_that_is_decided_on() {
    let mut life = Life::new();
    let ports = 10_000..12_000;
    for port in ports.clone() {
        let who = owner(7).map(Arc::new);
        life.sockets.push((socket(port.into(), ADDRESSES[0], port), who));
    }
    life.change(Change::Time(0));
    let before = life.picture(None);

    life.change(Change::Comes(9000, 0, 7));
    let one_more = life.anew(&before);
    life.change(Change::Config(1));
    let reloaded = life.anew(&before);

    assert_eq!((one_more, reloaded), (1, ports.len() + 1));
}
