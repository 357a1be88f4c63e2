//! A machine to plan for: interfaces, a policy, a real ledger, and a world in which actions take place and binds fail.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wslnet_console::diagnose::Source;
use wslnet_protocol::{
    Bind, Forward, ForwardId, ForwardSet, ForwardState, ForwardStatus, Mode, OpenSession, Protocol, Reach,
    SessionId, VERSION,
};

use super::super::*;
use crate::config::{Backend, Config};
use crate::host::{Awake, Category, InterfaceAddress};
use crate::ledger::{ConnectionId, Ledger, Terms};

pub struct Bench {
    pub interfaces: Vec<Interface>,
    pub control: SocketAddr,
    pub policy: Policy,
    pub backend: Backend,
    /// The networking mode that new sessions name.
    pub mode: Mode,
    pub ledger: Ledger,
    pub actual: Actual,
    pub places: Places,
    /// Where binds fail, because somebody else is there.
    pub busy: BTreeSet<SocketAddr>,
    /// Whether they fail everywhere.
    pub all_busy: bool,
    /// Counts sessions, connections and generations alike.
    counter: u64,
    /// The newest session of each distro.
    sessions: BTreeMap<String, u64>,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            interfaces: vec![interface("vEthernet (WSL)", &[("172.20.0.1", 20)]), lan()],
            control: SocketAddr::from(([172, 20, 0, 1], 9756)),
            policy: Policy::default(),
            backend: Backend::Relay,
            mode: Mode::Nat,
            ledger: Ledger::new(Terms::default()),
            actual: Actual::default(),
            places: Places::default(),
            busy: BTreeSet::new(),
            all_busy: false,
            counter: 0,
            sessions: BTreeMap::new(),
        }
    }

    pub fn config(&mut self, text: &str) {
        let source = Source {
            name: "companion.toml".into(),
            text: text.into(),
        };
        self.policy = Config::parse(source).unwrap().policy;
    }

    pub fn limit(&mut self, max_forwards: usize) {
        self.ledger.set_terms(Terms {
            max_forwards,
            ..Terms::default()
        });
    }

    /// Opens a new session of the distro from this address.
    pub fn peer(&mut self, distro: &str, peer: &str) {
        self.counter += 1;
        let session = SessionId(self.counter.into());
        let request = OpenSession {
            protocol: VERSION,
            boot_id: "boot".into(),
            pid_namespace: 1,
            mode: self.mode,
            daemon: "0.1.0".into(),
        };
        let peer = peer.parse().unwrap();
        self.ledger
            .open(distro, peer, &request, session, ConnectionId(self.counter), now())
            .unwrap();
        self.sessions.insert(distro.to_owned(), self.counter);
    }

    /// Sends the distro's set in its newest session, which is opened from 172.20.0.2 if there is none.
    pub fn put(&mut self, distro: &str, forwards: &[Forward], revoked: &[u64]) {
        if !self.sessions.contains_key(distro) {
            self.peer(distro, "172.20.0.2");
        }
        self.counter += 1;
        let session = self.sessions[distro];
        let revoked = revoked.iter().map(|id| ForwardId(*id)).collect();
        let set = ForwardSet {
            forwards: forwards.to_vec(),
            revoked,
        };
        self.ledger
            .put(
                SessionId(session.into()),
                ConnectionId(session),
                self.counter,
                set,
                now(),
            )
            .unwrap();
    }

    /// Ends the distro's session as a goodbye would.
    pub fn leave(&mut self, distro: &str) {
        self.ledger.forget(distro);
        self.sessions.remove(distro);
    }

    pub fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            interfaces: &self.interfaces,
            control: ControlPorts {
                network: Some(self.control),
                loopback: Some(SocketAddr::from(([127, 0, 0, 1], self.control.port()))),
            },
            policy: &self.policy,
            backend: self.backend,
        }
    }

    /// What the places of the last pass mean for the claims of now.
    pub fn desired(&self) -> Desired {
        desired(&self.ledger.claims(), &self.places, &self.surroundings())
    }

    /// What the next pass would do.
    pub fn actions(&self, retry: bool) -> Vec<Action> {
        let claims = self.ledger.claims();
        let places = assign(&claims, &self.surroundings(), &self.actual, &self.places);
        let desired = desired(&claims, &places, &self.surroundings());
        actions(&desired, &self.actual, &claims, retry)
    }

    /// One pass: plans, lets it happen, and returns what was planned.
    pub fn pass(&mut self, retry: bool) -> Vec<Action> {
        let actions = self.actions(retry);
        self.places = assign(
            &self.ledger.claims(),
            &self.surroundings(),
            &self.actual,
            &self.places,
        );
        for action in &actions {
            self.happen(action.clone());
        }
        actions
    }

    /// Passes until no search for a port goes on, as the engine does it, but to the end. Returns what was planned in all.
    pub fn settle(&mut self, retry: bool) -> Vec<Action> {
        let mut planned = self.pass(retry);
        for _ in 0..1_000 {
            if !self.searches() {
                return planned;
            }
            planned.extend(self.pass(false));
        }
        panic!("a search for a port has no end");
    }

    /// Whether the next pass would carry a search on.
    pub fn searches(&self) -> bool {
        let claims = self.ledger.claims();
        assign(&claims, &self.surroundings(), &self.actual, &self.places).search_on(&self.places)
    }

    /// As the machine would do it. An action that does not fit what is open is a mistake of the plan.
    fn happen(&mut self, action: Action) {
        let relays = &mut self.actual.relays;
        match action {
            Action::Close { key, .. } => assert!(relays.remove(&key).is_some(), "{key} is not open"),
            Action::Unlisten { key, address } => {
                let relay = relays.get_mut(&key).unwrap();
                let was_known = relay.listening.remove(&address) | relay.failed.remove(&address).is_some();
                assert!(was_known, "{address} was never asked for");
            }
            Action::Adopt { key, id } => relays.get_mut(&key).unwrap().id = id,
            Action::Retarget { key, target } => relays.get_mut(&key).unwrap().target = target,
            Action::Open {
                key,
                distro,
                id,
                target,
            } => {
                let applied = Applied {
                    distro,
                    id,
                    target,
                    listening: BTreeSet::new(),
                    failed: BTreeMap::new(),
                };
                assert!(relays.insert(key, applied).is_none(), "{key} is open already");
            }
            Action::Listen { key, address } => {
                assert_eq!(address.port(), key.port);
                assert!(!address.ip().is_loopback(), "{address} is no network");
                self.listen(key, address);
            }
            Action::FillGap { key } => self.listen(key, loopback_gap(key.port)),
        }
    }

    fn listen(&mut self, key: Key, address: SocketAddr) {
        let relay = self.actual.relays.get_mut(&key).unwrap();
        if self.all_busy || self.busy.contains(&address) {
            let failure = Failure {
                reason: format!("{address} is held by x.exe"),
                conflict: Some("taken by x.exe".into()),
                stuck: None,
            };
            relay.failed.insert(address, failure);
        } else {
            relay.failed.remove(&address);
            assert!(relay.listening.insert(address), "{address} is open already");
        }
    }

    pub fn status(&self, distro: &str, id: u64) -> ForwardStatus {
        let statuses = statuses(&self.desired(), &self.actual, &Opinions::new(), distro);
        statuses
            .into_iter()
            .find(|status| status.id == ForwardId(id))
            .unwrap()
    }

    /// The reason must contain the text; an empty text asks for an empty reason.
    pub fn expect(&self, distro: &str, id: u64, state: ForwardState, reason: &str) {
        let status = self.status(distro, id);
        assert_eq!(status.state, state, "{status:?}");
        assert!(status.reason.contains(reason), "{status:?}");
        assert_eq!(status.reason.is_empty(), reason.is_empty(), "{status:?}");
    }
}

pub fn forward(id: u64, port: u16) -> Forward {
    Forward {
        id: ForwardId(id),
        protocol: Protocol::Tcp,
        port,
        bind: Bind::Wildcard,
        listen_port: port,
        auto: false,
        loopback_gap: false,
        reach: Reach::Lan,
        name: None,
        labels: vec![],
    }
}

/// A forward that would take another port.
pub fn auto(id: u64, port: u16) -> Forward {
    Forward {
        auto: true,
        ..forward(id, port)
    }
}

/// A forward at whose port WSL leaves Windows' own 127.0.0.1 free.
pub fn with_gap(forward: Forward) -> Forward {
    Forward {
        loopback_gap: true,
        ..forward
    }
}

pub fn udp(id: u64, port: u16) -> Forward {
    Forward {
        protocol: Protocol::Udp,
        ..forward(id, port)
    }
}

pub fn key(port: u16) -> Key {
    Key {
        protocol: Protocol::Tcp,
        port,
    }
}

pub fn interface(name: &str, addresses: &[(&str, u8)]) -> Interface {
    Interface {
        name: name.into(),
        description: String::new(),
        adapter: String::new(),
        category: Some(Category::Private),
        index: 1,
        up: true,
        loopback: false,
        addresses: addresses
            .iter()
            .map(|(address, prefix_length)| InterfaceAddress {
                address: address.parse::<IpAddr>().unwrap(),
                prefix_length: *prefix_length,
                preferred: true,
            })
            .collect(),
    }
}

pub fn lan() -> Interface {
    interface("Ethernet", &[("192.168.1.20", 24), ("2001:db8::20", 64)])
}

/// The interface by which a machine talks to itself, as Windows calls it.
pub fn loopback() -> Interface {
    Interface {
        loopback: true,
        ..interface("Loopback Pseudo-Interface 1", &[("127.0.0.1", 8), ("::1", 128)])
    }
}

pub fn listens(addresses: &[&str]) -> Vec<SocketAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

fn now() -> Awake {
    Awake::after_start(Duration::ZERO)
}
