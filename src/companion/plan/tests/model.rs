//! Random distros on a random machine where binds fail: one pass leads from any state to the desired one, the second has
//! nothing to do, and on the way nothing forbidden happens.

use proptest::prelude::*;

use super::*;

const DISTROS: [&str; 3] = ["a", "b", "c"];
/// Two that may be had, one that Windows keeps, the control port, one that `ports` may leave out.
const PORTS: [u16; 5] = [8000, 8001, 3389, 9756, 9000];
const PEERS: [&str; 4] = ["172.20.0.2", "172.20.0.3", "192.168.1.66", "172.20.0.1"];

/// What changes between two passes.
#[derive(Clone, Debug)]
enum Change {
    Put {
        distro: usize,
        wishes: Vec<Wish>,
        revoked: bool,
    },
    Leave(usize),
    Peer {
        distro: usize,
        peer: usize,
    },
    Interfaces {
        present: [bool; 5],
        up: bool,
    },
    Policy {
        narrow: bool,
        few_ports: bool,
        exclude: bool,
    },
    Limit(usize),
    /// Whether each bind fails follows from this number.
    Busy(u8),
}

#[derive(Clone, Debug)]
struct Wish {
    port: u16,
    /// A low number for the id, so that listeners come back, change port and change owner.
    id: u64,
    reach: Reach,
}

fn change() -> impl Strategy<Value = Change> {
    let reach = prop_oneof![4 => Just(Reach::Lan), 1 => Just(Reach::Host)];
    let wish =
        (prop::sample::select(PORTS.to_vec()), reach).prop_map(|(port, reach)| Wish { port, id: 0, reach });
    let wishes = (
        prop::collection::vec(wish, 0..5),
        Just((1u64..9).collect::<Vec<_>>()).prop_shuffle(),
    )
        .prop_map(|(wishes, ids)| {
            let mut seen = BTreeSet::new();
            let numbered = wishes.into_iter().zip(ids).map(|(wish, id)| Wish { id, ..wish });
            numbered.filter(|wish| seen.insert(wish.port)).collect()
        });
    let distro = || 0..DISTROS.len();
    prop_oneof![
        6 => (distro(), wishes, any::<bool>())
            .prop_map(|(distro, wishes, revoked)| Change::Put { distro, wishes, revoked }),
        1 => distro().prop_map(Change::Leave),
        2 => (distro(), 0..PEERS.len()).prop_map(|(distro, peer)| Change::Peer { distro, peer }),
        3 => (any::<[bool; 5]>(), any::<bool>()).prop_map(|(present, up)| Change::Interfaces { present, up }),
        2 => any::<(bool, bool, bool)>()
            .prop_map(|(narrow, few_ports, exclude)| Change::Policy { narrow, few_ports, exclude }),
        1 => (0usize..4).prop_map(Change::Limit),
        3 => any::<u8>().prop_map(Change::Busy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_pass_converges_and_nothing_forbidden_happens(
        steps in prop::collection::vec((prop::collection::vec(change(), 1..4), any::<bool>()), 1..8),
    ) {
        let mut bench = Bench::new();
        for (changes, retry) in steps {
            for change in changes {
                apply(&mut bench, change);
            }
            let before = bench.actual.clone();

            let actions = bench.settle(retry);

            in_order(&actions)?;
            for action in &actions {
                lawful(&bench, &before, action)?;
            }
            converged(&bench)?;
            prop_assert_eq!(bench.actions(false), []);
            let again = bench.actions(true);
            let failed = bench.actual.relays.values().map(|applied| applied.failed.len()).sum::<usize>();
            prop_assert_eq!(again.len(), failed);
            let only_listens = again.iter().all(|action| matches!(action, Action::Listen { .. }));
            prop_assert!(only_listens, "{again:?}");
            told(&bench)?;
        }
    }
}

fn apply(bench: &mut Bench, change: Change) {
    match change {
        Change::Put {
            distro,
            wishes,
            revoked,
        } => {
            let forwards: Vec<Forward> = wishes
                .iter()
                .map(|wish| Forward {
                    reach: wish.reach,
                    ..forward(wish.id, wish.port)
                })
                .collect();
            let unwanted = (1..9).filter(|id| wishes.iter().all(|wish| wish.id != *id));
            let revoked: Vec<u64> = if revoked { unwanted.collect() } else { vec![] };
            bench.put(DISTROS[distro], &forwards, &revoked);
        }
        Change::Leave(distro) => bench.leave(DISTROS[distro]),
        Change::Peer { distro, peer } => bench.peer(DISTROS[distro], PEERS[peer]),
        Change::Interfaces { present, up } => bench.interfaces = machine(present, up),
        Change::Policy {
            narrow,
            few_ports,
            exclude,
        } => bench.config(&format!(
            "reach = \"{}\"\nports = [\"{}\"]\nexclude-interfaces = [{}]",
            if narrow { "host" } else { "lan" },
            if few_ports { "1-8999" } else { "1-65535" },
            if exclude { "\"wi*\"" } else { "" },
        )),
        Change::Limit(limit) => bench.limit(limit),
        Change::Busy(seed) => {
            let addresses = ["192.168.1.20", "2001:db8::20", "10.0.0.5", "10.0.0.6"];
            bench.busy = addresses
                .iter()
                .flat_map(|ip| PORTS.map(|port| SocketAddr::new(ip.parse().unwrap(), port)))
                .enumerate()
                .filter(|(index, _)| seed >> (index % 8) & 1 == 1)
                .map(|(_, address)| address)
                .collect();
            // A new listener of somebody else does not close ours.
            let open = bench
                .actual
                .relays
                .values()
                .flat_map(|applied| &applied.listening);
            for address in open {
                bench.busy.remove(address);
            }
        }
    }
}

fn machine(present: [bool; 5], up: bool) -> Vec<Interface> {
    let mut lo = interface("lo", &[("127.0.0.1", 8), ("::1", 128), ("10.99.0.1", 24)]);
    lo.loopback = true;
    let mut wifi = interface(
        "Wi-Fi",
        &[("10.0.0.5", 24), ("10.0.0.6", 24), ("169.254.3.3", 16)],
    );
    wifi.up = up;
    wifi.addresses[1].preferred = !up;
    let all = [
        interface("vEthernet (WSL)", &[("172.20.0.1", 20), ("172.31.0.1", 24)]),
        lan(),
        wifi,
        lo,
        interface("odd", &[("0.0.0.0", 0), ("fe80::1", 64), ("ff02::1", 8)]),
    ];
    all.into_iter()
        .zip(present)
        .filter(|(_, present)| *present)
        .map(|(interface, _)| interface)
        .collect()
}

/// Removals, then new targets, then additions.
fn in_order(actions: &[Action]) -> Result<(), TestCaseError> {
    let phases = actions.iter().map(|action| match action {
        Action::Close { .. } | Action::Unlisten { .. } => 0,
        Action::Adopt { .. } | Action::Retarget { .. } => 1,
        Action::Open { .. } | Action::Listen { .. } => 2,
    });
    prop_assert!(phases.is_sorted(), "{actions:?}");
    Ok(())
}

/// Judged from the machine, the policy and the ledger, not from the plan's own desired state.
fn lawful(bench: &Bench, before: &Actual, action: &Action) -> Result<(), TestCaseError> {
    let claims = bench.ledger.claims();
    match action {
        Action::Listen { key, address } => {
            let ip = address.ip();
            let carriers: Vec<_> = bench
                .interfaces
                .iter()
                .filter(|i| i.addresses.iter().any(|a| a.address == ip && a.preferred))
                .collect();
            prop_assert!(
                !carriers.is_empty() && carriers.iter().all(|i| i.up && !i.loopback),
                "{address}"
            );
            prop_assert!(carriers.iter().all(|i| i.name != "vEthernet (WSL)"), "{address}");
            prop_assert!(
                carriers.iter().all(|i| !bench.policy.excludes(&i.name)),
                "{address}"
            );
            prop_assert!(
                !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast(),
                "{address}"
            );
            prop_assert!(
                !ip.to_string().starts_with("169.254.") && !ip.to_string().starts_with("fe80"),
                "{address}"
            );
            prop_assert_eq!(key.port, address.port());
            may_be_open(bench, *key)?;
        }
        Action::Open {
            key,
            distro,
            id,
            target,
        } => {
            may_be_open(bench, *key)?;
            let wanted = &claims.ports[key];
            let claim = wanted.iter().find(|claim| claim.distro == *distro).unwrap();
            prop_assert_eq!((claim.forward.id, claim.forward.reach), (*id, Reach::Lan));
            dialled(bench, *key, distro, *target)?;
            // Whoever came before could not have it: only a refused peer or its own wish speaks against a claim here.
            let earlier = wanted.iter().take_while(|claim| claim.distro != *distro);
            for claim in earlier {
                prop_assert!(
                    !is_neighbour(claims.distros[claim.distro].peer),
                    "{action:?} before {claim:?}"
                );
            }
        }
        Action::Adopt { key, id } => {
            let former = &before.relays[key];
            let claims = &claims.distros[former.distro.as_str()];
            prop_assert!(!claims.revoked.contains(&former.id), "{action:?}");
            prop_assert!(
                claims.granted.iter().any(|f| f.id == *id && Key::of(f) == *key),
                "{action:?}"
            );
        }
        Action::Retarget { key, target } => dialled(bench, *key, &before.relays[key].distro, *target)?,
        Action::Close { key, connections } => {
            let closed = &before.relays[key];
            let Some(distro) = claims.distros.get(closed.distro.as_str()) else {
                prop_assert_eq!(*connections, Connections::Cut);
                return Ok(());
            };
            if distro.revoked.contains(&closed.id) {
                prop_assert_eq!(*connections, Connections::Cut);
            } else if distro
                .granted
                .iter()
                .chain(distro.over_limit)
                .all(|f| f.id != closed.id)
            {
                prop_assert_eq!(*connections, Connections::Drain);
            }
        }
        Action::Unlisten { .. } => {}
    }
    Ok(())
}

fn may_be_open(bench: &Bench, key: Key) -> Result<(), TestCaseError> {
    prop_assert!(key.port != 3389 && key.port != bench.control.port(), "{key}");
    prop_assert!(
        bench.policy.refusal(key.port).is_none() && bench.policy.reach == Reach::Lan,
        "{key}"
    );
    Ok(())
}

fn dialled(bench: &Bench, key: Key, distro: &str, target: SocketAddr) -> Result<(), TestCaseError> {
    let peer = bench.ledger.claims().distros[distro].peer;
    prop_assert_eq!(target, SocketAddr::new(peer, key.port));
    prop_assert!(is_neighbour(peer), "{target}");
    Ok(())
}

/// Of the peers of this test.
fn is_neighbour(peer: IpAddr) -> bool {
    ["172.20.0.2", "172.20.0.3"].contains(&peer.to_string().as_str())
}

fn converged(bench: &Bench) -> Result<(), TestCaseError> {
    let desired = bench.desired();
    prop_assert!(bench.actual.relays.keys().eq(desired.relays.keys()));
    for (key, relay) in &desired.relays {
        let applied = &bench.actual.relays[key];
        prop_assert_eq!(
            (&applied.distro, applied.id, applied.target),
            (&relay.distro, relay.id, relay.target)
        );
        let met: BTreeSet<_> = applied
            .listening
            .iter()
            .chain(applied.failed.keys())
            .copied()
            .collect();
        prop_assert_eq!(&met, &relay.listen);
        prop_assert!(
            applied
                .listening
                .iter()
                .all(|address| !applied.failed.contains_key(address))
        );
    }
    Ok(())
}

/// Each forward has a state, in order, and a reason unless all is well; what is said to be open is open.
fn told(bench: &Bench) -> Result<(), TestCaseError> {
    let desired = bench.desired();
    let mut open = BTreeSet::new();
    for (distro, claims) in &bench.ledger.claims().distros {
        let statuses = statuses(&desired, &bench.actual, distro);
        let wanted = claims
            .granted
            .iter()
            .chain(claims.over_limit)
            .map(|forward| forward.id);
        prop_assert!(statuses.iter().map(|status| status.id).eq(wanted));
        for status in &statuses {
            prop_assert!(
                status.state == ForwardState::Active || !status.reason.is_empty(),
                "{status:?}"
            );
            prop_assert!(
                status.listen.iter().all(|address| open.insert(*address)),
                "{status:?}"
            );
        }
    }
    let listening: BTreeSet<SocketAddr> = bench
        .actual
        .relays
        .values()
        .flat_map(|applied| applied.listening.clone())
        .collect();
    prop_assert_eq!(open, listening);
    Ok(())
}
