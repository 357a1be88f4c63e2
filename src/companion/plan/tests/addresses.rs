//! Where a forward listens and what it dials, by protocol, reach and what Windows' networks are.

use super::*;

#[test]
fn a_forward_listens_on_each_network_but_the_vms_and_dials_the_vm() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);

    let actions = bench.settle(false);

    assert_eq!(
        actions,
        [
            Action::Open {
                key: key(8000),
                distro: "a".into(),
                id: ForwardId(1),
                target: address("172.20.0.2:8000")
            },
            Action::Listen {
                key: key(8000),
                address: address("192.168.1.20:8000")
            },
            Action::Listen {
                key: key(8000),
                address: address("[2001:db8::20]:8000")
            },
        ]
    );
    let status = bench.status("a", 1);
    assert_eq!((status.state, status.reason.as_str()), (ForwardState::Active, ""));
    assert_eq!(
        status.listen,
        listens(&["192.168.1.20:8000", "[2001:db8::20]:8000"])
    );
}

#[test]
fn another_port_on_windows_is_no_matter() {
    let mut bench = Bench::new();
    bench.put(
        "a",
        &[Forward {
            listen_port: 8888,
            ..forward(1, 8000)
        }],
        &[],
    );

    let actions = bench.settle(false);

    let open = Action::Open {
        key: key(8888),
        distro: "a".into(),
        id: ForwardId(1),
        target: address("172.20.0.2:8000"),
    };
    assert_eq!(actions[0], open);
}

#[test]
fn unfit_interfaces_and_addresses_are_left_out() {
    let mut down = interface("down", &[("10.1.0.1", 24)]);
    down.up = false;
    let mut loopback = interface("lo", &[("10.2.0.1", 24)]);
    loopback.loopback = true;
    let mut tentative = interface("tentative", &[("10.3.0.1", 24)]);
    tentative.addresses[0].preferred = false;
    let mut adapter = interface("vEthernet (WSL (Hyper-V firewall))", &[("10.4.0.1", 24)]);
    adapter.description = "Hyper-V Virtual Ethernet Adapter".into();
    let mut bench = Bench::new();
    bench.interfaces.extend([
        down,
        loopback,
        tentative,
        adapter,
        interface("named", &[("10.5.0.1", 24)]),
        interface(
            "odd",
            &[
                ("0.0.0.0", 0),
                ("127.0.0.1", 8),
                ("169.254.9.9", 16),
                ("224.0.0.1", 4),
                ("255.255.255.255", 32),
                ("::", 128),
                ("::1", 128),
                ("fe80::1", 64),
                ("ff02::1", 8),
                ("::ffff:10.6.0.1", 120),
            ],
        ),
    ]);
    bench.config("exclude-interfaces = [\"NAMED\"]");

    let addresses = lan_addresses(
        &bench.interfaces,
        &ControlPorts::only(bench.control),
        &bench.policy,
    );

    assert_eq!(
        addresses,
        ["192.168.1.20", "2001:db8::20"].map(|a| a.parse::<IpAddr>().unwrap())
    );
}

#[test]
fn without_a_fit_interface_a_forward_waits_and_keeps_its_connections() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);
    bench.interfaces.retain(|interface| interface.name != "Ethernet");

    let actions = bench.settle(false);

    assert!(
        actions
            .iter()
            .all(|action| matches!(action, Action::Unlisten { .. })),
        "{actions:?}"
    );
    assert_eq!(actions.len(), 2);
    bench.expect("a", 1, ForwardState::Pending, "connect Windows to a network");

    bench.interfaces.push(lan());
    assert_eq!(bench.settle(false).len(), 2);
    bench.expect("a", 1, ForwardState::Active, "");
}

#[test]
fn reach_host_needs_no_relay() {
    let mut bench = Bench::new();
    let host = |id, port| Forward {
        reach: Reach::Host,
        ..forward(id, port)
    };
    bench.put(
        "a",
        &[
            host(1, 8000),
            Forward {
                bind: Bind::Address,
                ..host(2, 8001)
            },
            Forward {
                listen_port: 9000,
                ..host(3, 8002)
            },
        ],
        &[],
    );

    assert_eq!(bench.settle(false), []);
    bench.expect("a", 1, ForwardState::Active, "localhost:8000");
    bench.expect("a", 2, ForwardState::Active, "172.20.0.2:8001");
    bench.expect("a", 3, ForwardState::Denied, "listen on port 9000");
    assert!(!bench.status("a", 1).reason.contains("companion.toml"));
}

#[test]
fn tcp_and_udp_ports_of_one_number_are_two() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.put("b", &[udp(2, 8000)], &[]);

    bench.settle(false);

    bench.expect("a", 1, ForwardState::Active, "");
    bench.expect("b", 2, ForwardState::Active, "");
    let of_udp = Key {
        protocol: Protocol::Udp,
        port: 8000,
    };
    assert_eq!(bench.actual.relays[&of_udp].distro, "b");
    assert_eq!(bench.actual.relays[&of_udp].target, address("172.20.0.2:8000"));
}

#[test]
fn windows_itself_reaches_udp_at_the_vm_and_not_at_localhost() {
    let mut bench = Bench::new();
    let host = |forward| Forward {
        reach: Reach::Host,
        ..forward
    };
    let elsewhere = Forward {
        listen_port: 9000,
        ..udp(2, 8001)
    };
    bench.put("a", &[host(udp(1, 8000)), host(elsewhere)], &[]);

    assert_eq!(bench.settle(false), []);
    bench.expect(
        "a",
        1,
        ForwardState::Active,
        "172.20.0.2:8000, but not at localhost",
    );
    bench.expect("a", 2, ForwardState::Denied, "listen on port 9000");

    bench.peer("a", "192.168.1.66");
    bench.settle(false);
    bench.expect("a", 1, ForwardState::Denied, "192.168.1.66");
}

#[test]
fn udp_has_reserved_ports_of_its_own_and_the_control_port_is_tcp() {
    let mut bench = Bench::new();
    bench.put(
        "a",
        &[
            udp(1, 53),
            udp(2, 5050),
            forward(3, 5050),
            udp(4, 9756),
            forward(5, 9756),
        ],
        &[],
    );

    bench.settle(false);

    bench.expect("a", 1, ForwardState::Denied, "DNS");
    bench.expect("a", 2, ForwardState::Denied, "connected devices");
    bench.expect("a", 3, ForwardState::Active, "");
    bench.expect("a", 4, ForwardState::Active, "");
    bench.expect("a", 5, ForwardState::Denied, "control port");
}
