//! Random distros on a random machine where binds fail: one pass leads from any state to the desired one, the second has
//! nothing to do, and on the way nothing forbidden happens.

mod laws;

use proptest::prelude::*;

use self::laws::{converged, lawful, told};
use super::*;

const DISTROS: [&str; 3] = ["a", "b", "c"];
/// Three neighbours that may be had, one that Windows keeps, one that it keeps over UDP, the control port (of TCP), one that
/// `ports` may leave out.
const PORTS: [u16; 7] = [8000, 8001, 8002, 3389, 5050, 9756, 9000];
/// Where a bind may fail: also where a search for another port comes by.
const BUSY: [u16; 8] = [8000, 8001, 8002, 8003, 8004, 9000, 9001, 9757];
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
    Busy(u64),
    AllBusy(bool),
}

#[derive(Clone, Debug)]
struct Wish {
    protocol: Protocol,
    port: u16,
    auto: bool,
    loopback_gap: bool,
    /// A low number for the id, so that listeners come back, change port and change owner.
    id: u64,
    reach: Reach,
}

fn change() -> impl Strategy<Value = Change> {
    let reach = prop_oneof![4 => Just(Reach::Lan), 1 => Just(Reach::Host)];
    let protocol = prop_oneof![2 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp)];
    let wish = (
        protocol,
        prop::sample::select(PORTS.to_vec()),
        any::<bool>(),
        any::<bool>(),
        reach,
    )
        .prop_map(|(protocol, port, auto, loopback_gap, reach)| Wish {
            protocol,
            port,
            auto,
            loopback_gap,
            id: 0,
            reach,
        });
    let wishes = (
        prop::collection::vec(wish, 0..5),
        Just((1u64..9).collect::<Vec<_>>()).prop_shuffle(),
    )
        .prop_map(|(wishes, ids)| {
            let mut seen = BTreeSet::new();
            let numbered = wishes.into_iter().zip(ids).map(|(wish, id)| Wish { id, ..wish });
            numbered
                .filter(|wish| seen.insert((wish.protocol, wish.port)))
                .collect()
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
        3 => any::<u64>().prop_map(Change::Busy),
        1 => prop::bool::weighted(0.15).prop_map(Change::AllBusy),
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
            let before = Before::of(&bench);

            pass(&mut bench, retry)?;
            let mut passes = 1;
            while bench.searches() {
                pass(&mut bench, false)?;
                passes += 1;
                prop_assert!(passes < 1_000, "a search has no end");
            }

            converged(&bench)?;
            stayed(&before, &bench)?;
            // A search that goes round again finds what can be had, within one round.
            for _ in 0..121 {
                if goes_round(&bench) && !bench.all_busy {
                    pass(&mut bench, true)?;
                }
            }
            if !goes_round(&bench) {
                prop_assert_eq!(bench.actions(false), []);
                let again = bench.actions(true);
                let failed = bench.actual.relays.values().map(|applied| applied.failed.len()).sum::<usize>();
                prop_assert_eq!(again.len(), failed);
                let is_listen = |action: &Action| matches!(action, Action::Listen { .. } | Action::FillGap { .. });
                let only_listens = again.iter().all(is_listen);
                prop_assert!(only_listens, "{again:?}");
            }
            told(&bench)?;
        }
    }
}

/// What was before a pass.
struct Before {
    actual: Actual,
    places: Places,
}

impl Before {
    fn of(bench: &Bench) -> Self {
        Self {
            actual: bench.actual.clone(),
            places: bench.places.clone(),
        }
    }
}

fn pass(bench: &mut Bench, retry: bool) -> Result<(), TestCaseError> {
    let before = Before::of(bench);
    let actions = bench.pass(retry);
    in_order(&actions)?;
    actions
        .iter()
        .try_for_each(|action| lawful(bench, &before, action))
}

/// Whether a search has come to its end once, and found no address.
fn goes_round(bench: &Bench) -> bool {
    let mut searching = in_force(bench).filter(|(_, _, place)| place.stage == Stage::TriedAgain);
    searching.any(|(_, forward, place)| {
        let applied = bench.actual.relays.get(&Key::of(forward).at(place.port));
        // Windows' own 127.0.0.1 is no place that a search looks for.
        let on_network = |address: &&SocketAddr| !address.ip().is_loopback();
        applied.is_some_and(|applied| {
            !applied.listening.iter().any(|address| on_network(&address))
                && applied.failed.keys().any(|address| on_network(&address))
        })
    })
}

/// The places that count now, with whose they are and the forward.
fn in_force(bench: &Bench) -> impl Iterator<Item = (&str, &Forward, &Place)> {
    let claims = bench.ledger.claims();
    let claims: Vec<_> = claims.distros.into_iter().collect();
    claims.into_iter().flat_map(move |(distro, claims)| {
        let place = move |forward| Some((distro, forward, bench.places.of(distro, Key::of(forward))?));
        claims.granted.iter().filter_map(place)
    })
}

/// Whoever was served keeps the port, if it can be had at one of the addresses where it was open.
fn stayed(before: &Before, bench: &Bench) -> Result<(), TestCaseError> {
    let claims = bench.ledger.claims();
    let usable = lan_addresses(
        &bench.interfaces,
        &ControlPorts::only(bench.control),
        &bench.policy,
    );
    for (distro, forward, place) in in_force(bench) {
        let wanted = Key::of(forward);
        let Some(former) = before
            .places
            .of(distro, wanted)
            .filter(|p| p.stage == Stage::Held)
        else {
            continue;
        };
        let key = wanted.at(former.port);
        let is_open = before.actual.relays.get(&key).is_some_and(|applied| {
            applied.distro == distro
                && applied
                    .listening
                    .iter()
                    .any(|address| usable.contains(&address.ip()))
        });
        let rivals = claims.ports.get(&key).map_or(&[][..], Vec::as_slice);
        let is_alone = rivals
            .iter()
            .all(|claim| claim.distro == distro && claim.forward.id == forward.id);
        if is_open && is_alone && !bench.all_busy && bench.policy.refusal(key.protocol, key.port).is_none() {
            prop_assert_eq!(place.port, former.port, "{} {:?}", distro, forward);
        }
    }
    Ok(())
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
                    protocol: wish.protocol,
                    auto: wish.auto,
                    loopback_gap: wish.loopback_gap,
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
            if exclude { "\"wi*\", \"lo\"" } else { "" },
        )),
        Change::Limit(limit) => bench.limit(limit),
        Change::Busy(seed) => {
            let addresses = [
                "192.168.1.20",
                "2001:db8::20",
                "10.0.0.5",
                "10.0.0.6",
                "127.0.0.1",
            ];
            bench.busy = addresses
                .iter()
                .flat_map(|ip| BUSY.map(|port| SocketAddr::new(ip.parse().unwrap(), port)))
                .enumerate()
                .filter(|(index, _)| seed >> index & 1 == 1)
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
        Change::AllBusy(all) => bench.all_busy = all,
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
        Action::Open { .. } | Action::Listen { .. } | Action::FillGap { .. } => 2,
    });
    prop_assert!(phases.is_sorted(), "{actions:?}");
    Ok(())
}
