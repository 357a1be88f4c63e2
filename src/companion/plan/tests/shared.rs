//! Forwards of distros whose VM shares Windows' ports, alone and beside others.

use std::net::SocketAddr;

use wslnet_protocol::{Bind, Forward, ForwardState, ForwardStatus, Mode, Protocol, Reach};

use super::bench::{Bench, auto, forward, key, listens, udp, with_gap};
use super::*;

const SHARING: [Mode; 2] = [Mode::Mirrored, Mode::VirtioProxy];

fn shared(mode: Mode) -> Bench {
    let mut bench = Bench::new();
    // There is no adapter of WSL.
    bench.interfaces.remove(0);
    bench.mode = mode;
    bench.peer("a", "127.0.0.1");
    bench
}

/// The state of a forward, were the firewall of this opinion of every opening.
fn status(bench: &Bench, distro: &str, id: u64, opinion: &Result<(), Failure>) -> ForwardStatus {
    let desired = bench.desired();
    let opinions = desired
        .openings
        .keys()
        .map(|key| (*key, opinion.clone()))
        .collect();
    let statuses = statuses(&desired, &bench.actual, &opinions, distro);
    statuses
        .into_iter()
        .find(|status| status.id == ForwardId(id))
        .unwrap()
}

#[test]
fn it_is_an_opening_and_nothing_is_bound_or_dialled() {
    for mode in SHARING {
        let mut bench = shared(mode);
        let address_only = Forward {
            bind: Bind::Address,
            ..forward(2, 8001)
        };
        bench.put("a", &[forward(1, 8000), address_only, udp(3, 5000)], &[]);

        assert_eq!(bench.settle(false), [], "no socket of ours");
        let desired = bench.desired();
        assert_eq!(desired.relays.len(), 0);
        let openings: Vec<_> = desired
            .openings
            .iter()
            .map(|(key, opening)| (key.protocol, key.port, opening.is_on_loopback))
            .collect();
        let known = |opening: &Opening| {
            let listen = opening.listen.iter().map(SocketAddr::ip);
            listen.eq(opening.networks.iter().map(|(address, _)| *address))
        };
        assert!(
            desired.openings.values().all(known),
            "each address with its network"
        );
        let tcp = Protocol::Tcp;
        assert_eq!(
            openings,
            [(tcp, 8000, true), (tcp, 8001, false), (Protocol::Udp, 5000, true)]
        );

        let open = status(&bench, "a", 1, &Ok(()));
        assert_eq!((open.state, open.reason.as_str()), (ForwardState::Active, ""));
        assert_eq!(
            open.listen,
            listens(&["192.168.1.20:8000", "[2001:db8::20]:8000", "127.0.0.1:8000"])
        );
    }
}

#[test]
fn what_the_firewall_says_is_the_state() {
    let mut bench = shared(Mode::Mirrored);
    bench.put("a", &[forward(1, 8000)], &[]);
    let failure = |conflict: Option<&str>, stuck| Failure {
        reason: "why".to_owned(),
        conflict: conflict.map(str::to_owned),
        stuck,
    };

    for (failure, state, reason) in [
        (
            failure(None, Some(Stuck::Denied)),
            ForwardState::Denied,
            "why; Windows itself reaches it at 127.0.0.1:8000",
        ),
        (
            failure(None, None),
            ForwardState::Pending,
            "why; Windows itself reaches it at 127.0.0.1:8000",
        ),
        (failure(Some("taken"), None), ForwardState::Conflict, "why"),
    ] {
        let told = status(&bench, "a", 1, &Err(failure));
        assert_eq!((told.state, told.reason.as_str()), (state, reason));
        assert_eq!(told.listen, []);
    }
    let desired = bench.desired();
    let nothing = statuses(&desired, &bench.actual, &Opinions::new(), "a");
    assert_eq!(nothing[0].state, ForwardState::Pending);
}

#[test]
fn reach_host_needs_no_rule_and_another_port_is_not_to_be_had() {
    let mut bench = shared(Mode::Mirrored);
    let host = |id, port, bind| Forward {
        reach: Reach::Host,
        bind,
        ..forward(id, port)
    };
    let elsewhere = Forward {
        listen_port: 8888,
        ..forward(3, 8002)
    };
    bench.put(
        "a",
        &[
            host(1, 8000, Bind::Wildcard),
            host(2, 8001, Bind::Address),
            elsewhere,
            with_gap(host(4, 8004, Bind::Wildcard)),
            auto(5, 8005),
        ],
        &[],
    );

    assert_eq!(bench.settle(false), []);
    let of = |id| status(&bench, "a", id, &Ok(()));

    assert_eq!(bench.desired().openings.keys().collect::<Vec<_>>(), [&key(8005)]);
    assert_eq!(of(1).state, ForwardState::Active);
    assert_eq!(of(1).reason, "Windows itself reaches it at 127.0.0.1:8000");
    assert_eq!(
        (of(2).state, of(3).state),
        (ForwardState::Denied, ForwardState::Denied)
    );
    assert!(
        of(3).reason.contains("nothing relays it to port 8888"),
        "{}",
        of(3).reason
    );
    assert_eq!(
        (of(4).state, of(5).state),
        (ForwardState::Active, ForwardState::Active)
    );
}

#[test]
fn the_ceiling_of_windows_holds_there_too() {
    let mut bench = shared(Mode::VirtioProxy);
    bench.put("a", &[forward(1, 3389), forward(2, 9756), forward(3, 8000)], &[]);

    assert_eq!(bench.desired().openings.keys().collect::<Vec<_>>(), [&key(8000)]);
    for id in [1, 2] {
        assert_eq!(status(&bench, "a", id, &Ok(())).state, ForwardState::Denied);
    }
    bench.config("reach = \"host\"\n");
    assert_eq!(bench.desired().openings.len(), 0);
    let narrowed = status(&bench, "a", 3, &Ok(()));
    assert!(
        narrowed.reason.contains("companion.toml keeps it off"),
        "{}",
        narrowed.reason
    );
    bench.config("exclude-interfaces = [\"Ethernet\"]\n");
    let nowhere = status(&bench, "a", 3, &Ok(()));
    assert_eq!(nowhere.state, ForwardState::Pending);
}

#[test]
fn a_port_has_one_owner_whatever_the_modes() {
    let mut bench = Bench::new();
    bench.put("nat", &[forward(1, 8000)], &[]);
    bench.mode = Mode::Mirrored;
    bench.peer("a", "127.0.0.1");
    bench.put("a", &[forward(2, 8000), forward(3, 8001)], &[]);

    let desired = bench.desired();

    assert_eq!(desired.relays.keys().collect::<Vec<_>>(), [&key(8000)]);
    assert_eq!(desired.openings.keys().collect::<Vec<_>>(), [&key(8001)]);
    assert_eq!(status(&bench, "a", 2, &Ok(())).state, ForwardState::Conflict);
}

#[test]
fn without_a_network_of_the_vm_openings_are_made_and_relays_are_not() {
    let mut bench = Bench::new();
    bench.put("nat", &[forward(1, 8000)], &[]);
    bench.mode = Mode::Mirrored;
    bench.peer("a", "127.0.0.1");
    bench.put("a", &[forward(2, 8001)], &[]);
    let control = ControlPorts::only(SocketAddr::from(([127, 0, 0, 1], 9756)));
    let surroundings = Surroundings {
        control,
        ..bench.surroundings()
    };

    let desired = desired(&bench.ledger.claims(), &Places::default(), &surroundings);

    assert_eq!((desired.relays.len(), desired.openings.len()), (0, 1));
}
