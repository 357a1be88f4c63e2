//! Random schedules, delayed and repeated messages among them, against a naive model: a list of all sessions, a list of
//! living sets, and one queue of claims.

use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;

const DISTROS: [&str; 3] = ["a", "b", "c"];
const LIMIT: usize = 3;
const MODEL_TERMS: Terms = Terms {
    lease: Duration::from_secs(15),
    grace: Duration::from_secs(3),
    max_forwards: LIMIT,
};

/// What may happen. Sessions and connections are named by how long ago they began, so that old ones keep speaking.
#[derive(Clone, Debug)]
enum Event {
    Open {
        distro: usize,
        boot: u8,
        pid_namespace: u64,
        peer: u8,
    },
    Put {
        session: usize,
        own_connection: bool,
        generation: u64,
        ports: Vec<u16>,
        revoked: bool,
    },
    Renew {
        session: usize,
        own_connection: bool,
    },
    Close {
        session: usize,
        own_connection: bool,
    },
    Lost {
        connection: usize,
    },
    Forget {
        distro: usize,
    },
    Wait {
        millis: u64,
        expire: bool,
    },
}

fn event() -> impl Strategy<Value = Event> {
    // Mostly the newest, sometimes one from long ago.
    let ago = || prop_oneof![4 => 0usize..2, 1 => 2usize..12];
    let own = || prop::bool::weighted(0.9);
    prop_oneof![
        4 => (0..DISTROS.len(), 0u8..2, prop_oneof![5 => Just(1u64), 1 => Just(2)], 2u8..5)
            .prop_map(|(distro, boot, pid_namespace, peer)| Event::Open { distro, boot, pid_namespace, peer }),
        8 => (ago(), own(), 0u64..12, prop::collection::btree_set(8000u16..8006, 0..6), any::<bool>())
            .prop_map(|(session, own_connection, generation, ports, revoked)| {
                // The order of a set counts; here it follows from the generation.
                let mut ports: Vec<u16> = ports.into_iter().collect();
                let turn = usize::try_from(generation).unwrap_or(0) % ports.len().max(1);
                ports.rotate_left(turn);
                Event::Put { session, own_connection, generation, ports, revoked }
            }),
        3 => (ago(), own()).prop_map(|(session, own_connection)| Event::Renew { session, own_connection }),
        1 => (ago(), own()).prop_map(|(session, own_connection)| Event::Close { session, own_connection }),
        2 => ago().prop_map(|connection| Event::Lost { connection }),
        1 => (0..DISTROS.len()).prop_map(|distro| Event::Forget { distro }),
        5 => (0u64..9_000, prop::bool::weighted(0.8)).prop_map(|(millis, expire)| Event::Wait { millis, expire }),
    ]
}

/// A session as the model remembers it, for ever.
#[derive(Clone, Debug)]
struct Seen {
    distro: usize,
    boot: u8,
    pid_namespace: u64,
    peer: u8,
    /// Whether its requests still count.
    current: bool,
    connected: bool,
    generation: Option<u64>,
    last_sign: u64,
    lost_at: Option<u64>,
}

/// A living set: `version` is the place of its session in the list and its generation.
#[derive(Clone, Debug)]
struct Set {
    version: (usize, u64),
    ports: Vec<u16>,
    revoked: bool,
}

#[derive(Default)]
struct Model {
    sessions: Vec<Seen>,
    sets: BTreeMap<usize, Set>,
    /// In order of arrival, over all distros.
    queue: Vec<(usize, u16)>,
    now: u64,
}

impl Model {
    fn current(&self, distro: usize) -> Option<&Seen> {
        self.sessions.iter().find(|s| s.distro == distro && s.current)
    }

    fn open(
        &mut self,
        distro: usize,
        boot: u8,
        pid_namespace: u64,
        peer: u8,
    ) -> Result<Option<usize>, ErrorCode> {
        let old = self.sessions.iter().position(|s| s.distro == distro && s.current);
        let mut superseded = None;
        if let Some(index) = old {
            let seen = &mut self.sessions[index];
            if seen.boot == boot && seen.pid_namespace != pid_namespace {
                return Err(ErrorCode::ClonedKey);
            }
            seen.current = false;
            superseded = seen.connected.then_some(index);
            if seen.boot != boot {
                self.sets.remove(&distro);
                self.queue.retain(|(owner, _)| *owner != distro);
            }
        }
        self.sessions.push(Seen {
            distro,
            boot,
            pid_namespace,
            peer,
            current: true,
            connected: true,
            generation: None,
            last_sign: self.now,
            lost_at: None,
        });
        Ok(superseded)
    }

    fn speak(&mut self, index: usize, own_connection: bool) -> Result<&mut Seen, ErrorCode> {
        let seen = &mut self.sessions[index];
        if own_connection && seen.current && seen.connected {
            Ok(seen)
        } else {
            Err(ErrorCode::StaleSession)
        }
    }

    fn put(
        &mut self,
        index: usize,
        own: bool,
        generation: u64,
        ports: &[u16],
        revoked: bool,
    ) -> Result<(), ErrorCode> {
        let now = self.now;
        let seen = self.speak(index, own)?;
        if seen.generation.is_some_and(|last| generation <= last) {
            return Err(ErrorCode::StaleGeneration);
        }
        seen.generation = Some(generation);
        seen.last_sign = now;
        let distro = seen.distro;
        let granted = &ports[..ports.len().min(LIMIT)];
        self.queue
            .retain(|(d, port)| *d != distro || granted.contains(port));
        for port in granted {
            if !self.queue.contains(&(distro, *port)) {
                self.queue.push((distro, *port));
            }
        }
        self.sets.insert(
            distro,
            Set {
                version: (index, generation),
                ports: ports.to_vec(),
                revoked,
            },
        );
        Ok(())
    }

    fn renew(&mut self, index: usize, own: bool) -> Result<(), ErrorCode> {
        let now = self.now;
        self.speak(index, own)?.last_sign = now;
        Ok(())
    }

    fn close(&mut self, index: usize, own: bool) -> Result<(), ErrorCode> {
        let distro = self.speak(index, own)?.distro;
        self.drop_distro(distro);
        Ok(())
    }

    fn lost(&mut self, index: usize) {
        let now = self.now;
        let seen = &mut self.sessions[index];
        if seen.connected {
            seen.connected = false;
            seen.lost_at = Some(now);
        }
    }

    fn deadline(seen: &Seen) -> u64 {
        let lease = seen.last_sign + 15_000;
        seen.lost_at.map_or(lease, |lost| lease.min(lost + 3_000))
    }

    fn expire(&mut self) -> Vec<String> {
        let ended: Vec<usize> = (0..DISTROS.len())
            .filter(|d| {
                self.current(*d)
                    .is_some_and(|seen| Self::deadline(seen) <= self.now)
            })
            .collect();
        for distro in &ended {
            self.drop_distro(*distro);
        }
        ended.into_iter().map(|d| DISTROS[d].to_owned()).collect()
    }

    fn drop_distro(&mut self, distro: usize) -> Option<usize> {
        self.sets.remove(&distro);
        self.queue.retain(|(d, _)| *d != distro);
        let index = self
            .sessions
            .iter()
            .position(|s| s.distro == distro && s.current)?;
        self.sessions[index].current = false;
        self.sessions[index].connected.then_some(index)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_agrees_with_the_model(events in prop::collection::vec(event(), 1..60)) {
        let mut ledger = Ledger::new(MODEL_TERMS);
        let mut model = Model::default();
        let mut newest: BTreeMap<usize, (usize, u64)> = BTreeMap::new();

        for event in events {
            run(&mut ledger, &mut model, event)?;

            agree(&ledger, &model)?;
            for (distro, set) in &model.sets {
                let last = newest.insert(*distro, set.version);
                prop_assert!(last <= Some(set.version), "{} went backwards", DISTROS[*distro]);
            }
        }
    }
}

/// Lets one event happen to both, and compares their answers.
fn run(ledger: &mut Ledger, model: &mut Model, event: Event) -> Result<(), TestCaseError> {
    let now = Awake::after_start(Duration::from_millis(model.now));
    let count = model.sessions.len();
    // Each opening has a connection of its own; both are numbered by their place in the model's list.
    let back = |ago: usize| count.checked_sub(ago + 1);
    let names = |index: usize, own: bool| {
        (
            SessionId(index as u128),
            ConnectionId(index as u64 + u64::from(!own)),
        )
    };
    match event {
        Event::Open {
            distro,
            boot,
            pid_namespace,
            peer,
        } => {
            let (session, connection) = names(count, true);
            let request = request(&format!("boot {boot}"), pid_namespace);
            let answer = ledger.open(DISTROS[distro], peer_at(peer), &request, session, connection, now);
            let expected = model.open(distro, boot, pid_namespace, peer);
            prop_assert_eq!(
                answer.map_err(|e| e.error),
                expected.map(|old| old.map(|index| ConnectionId(index as u64)))
            );
        }
        Event::Put {
            session,
            own_connection,
            generation,
            ports,
            revoked,
        } => {
            let Some(index) = back(session) else { return Ok(()) };
            let (id, connection) = names(index, own_connection);
            let set = ForwardSet {
                forwards: ports
                    .iter()
                    .map(|port| over(*port, forward(id_of(*port, generation), *port)))
                    .collect(),
                revoked: if revoked {
                    vec![ForwardId(generation)]
                } else {
                    vec![]
                },
            };
            let answer = ledger.put(id, connection, generation, set, now);
            let expected = model.put(index, own_connection, generation, &ports, revoked);
            prop_assert_eq!(answer.map_err(|e| e.error), expected);
        }
        Event::Renew {
            session,
            own_connection,
        } => {
            let Some(index) = back(session) else { return Ok(()) };
            let (id, connection) = names(index, own_connection);
            let answer = ledger.renew(id, connection, now);
            prop_assert_eq!(answer.map_err(|e| e.error), model.renew(index, own_connection));
        }
        Event::Close {
            session,
            own_connection,
        } => {
            let Some(index) = back(session) else { return Ok(()) };
            let (id, connection) = names(index, own_connection);
            let answer = ledger.close(id, connection);
            prop_assert_eq!(answer.map_err(|e| e.error), model.close(index, own_connection));
        }
        Event::Lost { connection } => {
            let Some(index) = back(connection) else {
                return Ok(());
            };
            ledger.connection_lost(ConnectionId(index as u64), now);
            model.lost(index);
        }
        Event::Forget { distro } => {
            let connection = model.drop_distro(distro).map(|index| ConnectionId(index as u64));
            prop_assert_eq!(ledger.forget(DISTROS[distro]), connection);
        }
        Event::Wait { millis, expire } => {
            model.now += millis;
            if expire {
                let now = Awake::after_start(Duration::from_millis(model.now));
                let ended: Vec<String> = ledger.expire(now).into_iter().map(|(distro, _)| distro).collect();
                prop_assert_eq!(ended, model.expire());
                prop_assert!(ledger.next_deadline().is_none_or(|deadline| deadline > now));
            }
        }
    }
    Ok(())
}

/// Compares all that can be seen from outside.
fn agree(ledger: &Ledger, model: &Model) -> Result<(), TestCaseError> {
    let claims = ledger.claims();

    let mut queues: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for (distro, port) in &model.queue {
        queues.entry(*port).or_default().push(DISTROS[*distro]);
    }
    // Within one port the order is what counts: its first one is the earliest living claimant, and the only owner.
    let seen: BTreeMap<u16, Vec<&str>> = claims
        .ports
        .iter()
        .map(|(key, claims)| (number(*key), claims.iter().map(|claim| claim.distro).collect()))
        .collect();
    prop_assert_eq!(seen, queues);

    for (distro, name) in DISTROS.iter().enumerate() {
        let expected = model.current(distro);
        let status = ledger.sessions().find(|status| status.distro == *name);
        prop_assert_eq!(
            status.map(|s| (s.peer, s.connected, s.generation)),
            expected.map(|s| (peer_at(s.peer), s.connected, s.generation))
        );
        let seen = claims.distros.get(name).copied();
        prop_assert_eq!(
            seen.map(|c| (c.peer, c.heard)),
            expected.map(|s| (peer_at(s.peer), s.generation.is_some()))
        );
        let (ports, revoked) = match seen {
            Some(seen) => (
                seen.granted
                    .iter()
                    .chain(seen.over_limit)
                    .map(|f| number(Key::of(f)))
                    .collect(),
                !seen.revoked.is_empty(),
            ),
            None => (vec![], false),
        };
        let set = model.sets.get(&distro);
        prop_assert_eq!(ports, set.map(|s| s.ports.clone()).unwrap_or_default());
        prop_assert_eq!(revoked, set.is_some_and(|s| s.revoked));
    }

    let deadline = model
        .sessions
        .iter()
        .filter(|s| s.current)
        .map(|s| Reverse(Model::deadline(s)))
        .max();
    prop_assert_eq!(
        ledger.next_deadline(),
        deadline.map(|Reverse(millis)| Awake::after_start(Duration::from_millis(millis)))
    );
    Ok(())
}

/// The model numbers ports through: from this one on they are those of UDP, which have the numbers of TCP's again.
const UDP_FROM: u16 = 8003;

/// The forward with the port that has this number in the model.
fn over(number: u16, forward: Forward) -> Forward {
    match number.checked_sub(UDP_FROM) {
        None => forward,
        Some(nth) => Forward {
            protocol: Protocol::Udp,
            listen_port: 8000 + nth,
            ..forward
        },
    }
}

/// The number that the model has for a port.
fn number(key: Key) -> u16 {
    match key.protocol {
        Protocol::Tcp => key.port,
        Protocol::Udp => key.port - 8000 + UDP_FROM,
    }
}

/// A listener that comes back has another id.
fn id_of(port: u16, generation: u64) -> u64 {
    u64::from(port) << 16 | generation
}

fn peer_at(last: u8) -> IpAddr {
    IpAddr::from([172, 20, 0, last])
}
