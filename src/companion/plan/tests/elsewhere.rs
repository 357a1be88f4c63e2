//! Examples for forwards that would take another port than they want.

use super::*;

const LAN: &str = "192.168.1.20";

#[test]
fn a_wanted_port_that_is_free_is_taken() {
    let mut bench = Bench::new();
    bench.put("a", &[auto(1, 8000)], &[]);

    bench.settle(false);

    bench.expect("a", 1, ForwardState::Active, "");
    assert_eq!(ports(&bench, 1), [8000]);
}

#[test]
fn a_port_that_a_program_holds_moves_the_forward_to_the_next() {
    let mut bench = Bench::new();
    bench.busy.insert(at(8000));
    bench.put("a", &[auto(1, 8000)], &[]);

    bench.settle(false);

    bench.expect(
        "a",
        1,
        ForwardState::Active,
        "port 8000 was taken by x.exe; listens at 8001 instead",
    );
    // On all addresses, though the other one had the wanted port free.
    assert_eq!(
        bench.status("a", 1).listen,
        listens(&["192.168.1.20:8001", "[2001:db8::20]:8001"])
    );
    let (_, outcome) = &bench.desired().outcomes["a"][0];
    assert_eq!(outcome.port(), Some(key(8001)));
    assert_eq!(bench.actual.relays[&key(8001)].target, address("172.20.0.2:8000"));
}

#[test]
fn a_forward_that_moved_stays_though_its_port_becomes_free_until_it_is_asked_for_anew() {
    let mut bench = Bench::new();
    bench.busy.insert(at(8000));
    bench.put("a", &[auto(1, 8000)], &[]);
    bench.settle(false);
    bench.busy.clear();

    bench.put("a", &[auto(2, 8000)], &[]);
    bench.settle(true);
    assert_eq!(ports(&bench, 2), [8001], "another listener, the same forward");

    bench.put("a", &[], &[]);
    bench.settle(false);
    bench.put("a", &[auto(3, 8000)], &[]);
    bench.settle(false);
    assert_eq!(ports(&bench, 3), [8000], "forgotten with the forward");
}

#[test]
fn a_daemon_that_restarts_finds_its_forwards_where_they_were() {
    for (case, restart) in [
        ("crash", (|bench| bench.peer("a", "172.20.0.2")) as fn(&mut Bench)),
        ("goodbye", |bench| {
            bench.leave("a");
            bench.settle(false);
            // The new session has not said yet what it wants.
            bench.peer("a", "172.20.0.2");
        }),
        ("another address", |bench| bench.peer("a", "172.20.0.9")),
    ] {
        let mut bench = Bench::new();
        bench.busy.insert(at(8000));
        bench.put("a", &[auto(1, 8000)], &[]);
        bench.settle(false);
        bench.busy.clear();

        restart(&mut bench);
        bench.settle(false);
        bench.put("a", &[auto(1, 8000)], &[]);
        bench.settle(false);

        assert_eq!(ports(&bench, 1), [8001], "{case}");
    }
}

#[test]
fn what_came_while_the_distro_was_away_keeps_its_port() {
    let mut bench = Bench::new();
    bench.busy.insert(at(8000));
    bench.put("a", &[auto(1, 8000)], &[]);
    bench.settle(false);
    bench.leave("a");
    bench.settle(false);
    bench.put("b", &[forward(2, 8001)], &[]);
    bench.settle(false);

    bench.put("a", &[auto(1, 8000)], &[]);
    bench.settle(false);

    bench.expect("b", 2, ForwardState::Active, "");
    assert_eq!(ports(&bench, 1), [8002]);
}

#[test]
fn the_distro_that_has_the_port_is_named() {
    let mut bench = Bench::new();
    bench.put("b", &[forward(1, 8000)], &[]);
    bench.put("a", &[auto(2, 8000)], &[]);

    bench.settle(false);

    bench.expect(
        "a",
        2,
        ForwardState::Active,
        "port 8000 was taken by distro `b`; listens at 8001 instead",
    );
}

#[test]
fn an_exact_claim_gets_no_port_that_an_earlier_forward_moved_to() {
    let mut bench = Bench::new();
    bench.busy.insert(at(8000));
    bench.put("a", &[auto(1, 8000)], &[]);
    bench.settle(false);

    bench.put("b", &[forward(2, 8001)], &[]);
    bench.settle(false);
    bench.put("a", &[auto(1, 8000), forward(3, 8001)], &[]);
    bench.settle(false);

    assert_eq!(ports(&bench, 1), [8001]);
    bench.expect("b", 2, ForwardState::Conflict, "distro `a` has tcp port 8001");
    bench.expect("a", 3, ForwardState::Conflict, "another forward of the distro");
}

#[test]
fn ports_that_others_want_are_passed_over() {
    let mut bench = Bench::new();
    bench.busy.extend([at(8000), at(8002)]);
    bench.put("b", &[forward(1, 8001)], &[]);
    bench.put("a", &[auto(2, 8000), auto(3, 8002), forward(4, 8003)], &[]);

    bench.settle(false);

    assert_eq!([ports(&bench, 2), ports(&bench, 3)].concat(), [8004, 8005]);
    bench.expect("b", 1, ForwardState::Active, "");
    bench.expect("a", 4, ForwardState::Active, "");
}

#[test]
fn two_that_want_the_same_port_share_by_arrival() {
    let mut bench = Bench::new();
    bench.put("b", &[auto(1, 8000)], &[]);
    bench.put("a", &[auto(2, 8000)], &[]);

    bench.settle(false);

    assert_eq!([ports(&bench, 1), ports(&bench, 2)].concat(), [8000, 8001]);
}

#[test]
fn ports_that_windows_keeps_or_does_not_allow_move_the_forward() {
    let mut bench = Bench::new();
    bench.config("ports = [\"54\", \"8100-8199\", \"9756-9800\"]");
    bench.put(
        "a",
        &[auto(1, 53), auto(2, 8090), auto(3, 9756), auto(4, 9990)],
        &[],
    );

    bench.settle(false);

    bench.expect(
        "a",
        1,
        ForwardState::Active,
        "Windows keeps port 53 for DNS; listens at 54 instead",
    );
    bench.expect(
        "a",
        2,
        ForwardState::Active,
        "does not allow port 8090; listens at 8100 instead",
    );
    bench.expect(
        "a",
        3,
        ForwardState::Active,
        "control port; listens at 9757 instead",
    );
    bench.expect("a", 4, ForwardState::Denied, "`ports` in companion.toml");
}

#[test]
fn a_place_that_policy_takes_away_is_left() {
    let mut bench = Bench::new();
    bench.busy.insert(at(8000));
    bench.put("a", &[auto(1, 8000)], &[]);
    bench.settle(false);

    bench.config("ports = [\"8000\", \"8005\"]");
    bench.settle(false);

    assert_eq!(ports(&bench, 1), [8005]);
}

#[test]
fn a_search_in_vain_is_a_conflict_that_ends_by_itself() {
    let mut bench = Bench::new();
    bench.all_busy = true;
    bench.put("a", &[auto(1, 8000)], &[]);

    bench.settle(false);
    for _ in 0..300 {
        bench.expect(
            "a",
            1,
            ForwardState::Conflict,
            "port 8000 was taken by x.exe, and none of the ports after it could be had",
        );
        bench.settle(true);
    }

    bench.all_busy = false;
    bench.settle(true);
    bench.settle(true);
    assert_eq!(bench.status("a", 1).state, ForwardState::Active);
}

#[test]
fn one_address_will_do_where_no_port_can_be_had_at_all() {
    let mut bench = Bench::new();
    let ip = LAN.parse().unwrap();
    bench
        .busy
        .extend((8000..=u16::MAX).map(|port| SocketAddr::new(ip, port)));
    bench.put("a", &[auto(1, 8000)], &[]);

    bench.settle(false);

    bench.expect("a", 1, ForwardState::Active, "192.168.1.20:8000 is held");
    assert_eq!(bench.status("a", 1).listen, listens(&["[2001:db8::20]:8000"]));
    bench.settle(true);
    assert_eq!(ports(&bench, 1), [8000], "and there it stays");
}

#[test]
fn while_the_search_goes_on_it_is_said() {
    let mut bench = Bench::new();
    bench.busy.insert(at(8000));
    bench.put("a", &[auto(1, 8000)], &[]);
    bench.interfaces[1].addresses.truncate(1);

    bench.pass(false);

    bench.expect(
        "a",
        1,
        ForwardState::Pending,
        "192.168.1.20:8000 is held by x.exe; another port is being looked for",
    );
}

#[test]
fn a_new_address_of_windows_moves_nobody_who_is_served_elsewhere() {
    let mut bench = Bench::new();
    bench.put("a", &[auto(1, 8000)], &[]);
    bench.settle(false);
    bench.busy.insert(address("10.0.0.5:8000"));

    bench.interfaces.push(interface("Wi-Fi", &[("10.0.0.5", 24)]));
    bench.settle(false);
    assert_eq!(ports(&bench, 1), [8000]);
    bench.expect("a", 1, ForwardState::Active, "10.0.0.5:8000 is held");

    bench.interfaces.retain(|interface| interface.name != "Ethernet");
    bench.settle(false);
    assert_eq!(
        ports(&bench, 1),
        [8001],
        "nobody is served at the former port any more"
    );
}

#[test]
fn reach_host_needs_no_port_of_windows() {
    let mut bench = Bench::new();
    let host = |forward| Forward {
        reach: Reach::Host,
        ..forward
    };
    bench.put("b", &[forward(1, 8000), forward(2, 9000)], &[]);
    let elsewhere = Forward {
        listen_port: 9000,
        ..auto(4, 8001)
    };
    bench.put("a", &[host(auto(3, 8000)), host(elsewhere)], &[]);

    bench.settle(false);

    bench.expect("a", 3, ForwardState::Active, "localhost:8000");
    bench.expect("a", 4, ForwardState::Active, "localhost:8001");
}

/// The ports at which a forward of `a` or `b` listens.
fn ports(bench: &Bench, id: u64) -> Vec<u16> {
    let claims = bench.ledger.claims();
    let all = claims
        .distros
        .keys()
        .flat_map(|distro| statuses(&bench.desired(), &bench.actual, &Opinions::new(), distro));
    let ports: BTreeSet<u16> = all
        .filter(|status| status.id == ForwardId(id))
        .flat_map(|status| status.listen)
        .map(|address| address.port())
        .collect();
    ports.into_iter().collect()
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(LAN.parse().unwrap(), port)
}

#[test]
fn who_loses_all_addresses_does_not_try_the_lost_port_again_at_once() {
    let mut bench = Bench::new();
    // The control port: the forward begins at the next one.
    bench.put("a", &[auto(1, 9756)], &[]);
    bench.settle(false);
    // Any later pass: by then it is sure of its place.
    bench.settle(false);
    assert_eq!(ports(&bench, 1), [9757]);

    // Windows moves to another network, where a program holds that very port.
    bench.interfaces = vec![
        interface("vEthernet (WSL)", &[("172.20.0.1", 20)]),
        interface("Wi-Fi", &[("10.0.0.5", 24)]),
    ];
    bench.busy.insert(address("10.0.0.5:9757"));
    bench.settle(false);

    assert_eq!(ports(&bench, 1), [9758]);
}
