//! Examples for each rule of the plan. The model with random machines and bind failures is in `model`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backend;
mod bench;
mod elsewhere;
mod gap;
mod model;
mod networks;
mod shared;

use std::net::IpAddr;

use wslnet_protocol::{Bind, Forward, Protocol, Reach};

use self::bench::{Bench, auto, forward, interface, key, lan, listens, udp, with_gap};
use super::*;
use crate::ledger::Claim;

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

#[test]
fn the_ceiling_narrows_and_says_so() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);

    bench.config("reach = \"host\"");

    // The listener lives on but must no longer be reached from the network.
    assert_eq!(
        bench.settle(false),
        [Action::Close {
            key: key(8000),
            connections: Connections::Cut
        }]
    );
    bench.expect(
        "a",
        1,
        ForwardState::Active,
        "`reach = \"host\"` in companion.toml",
    );
    bench.expect("a", 1, ForwardState::Active, "localhost:8000");
}

#[test]
fn refused_ports_name_the_reason_and_the_key() {
    let mut bench = Bench::new();
    bench.config("ports = [\"1-8999\"]");
    bench.put(
        "a",
        &[
            forward(1, 445),
            forward(2, 9756),
            forward(3, 9000),
            forward(4, 8000),
        ],
        &[],
    );

    bench.settle(false);

    bench.expect("a", 1, ForwardState::Denied, "file sharing");
    bench.expect("a", 2, ForwardState::Denied, "control port");
    bench.expect("a", 3, ForwardState::Denied, "`ports` in companion.toml");
    bench.expect("a", 4, ForwardState::Active, "");
    assert_eq!(bench.actual.relays.keys().collect::<Vec<_>>(), [&key(8000)]);
}

#[test]
fn a_peer_that_is_no_neighbour_is_denied_and_blocks_nobody() {
    let mut bench = Bench::new();
    bench.peer("a", "192.168.1.66");
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.put("b", &[forward(2, 8000)], &[]);

    bench.settle(false);

    bench.expect("a", 1, ForwardState::Denied, "192.168.1.66");
    bench.expect("b", 2, ForwardState::Active, "");
}

#[test]
fn while_the_control_address_is_gone_nothing_is_open() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);
    bench
        .interfaces
        .retain(|interface| interface.name != "vEthernet (WSL)");

    assert_eq!(
        bench.settle(false),
        [Action::Close {
            key: key(8000),
            connections: Connections::Cut
        }]
    );
    bench.expect("a", 1, ForwardState::Pending, "172.20.0.1");
    assert!(
        lan_addresses(
            &bench.interfaces,
            &ControlPorts::only(bench.control),
            &bench.policy
        )
        .is_empty()
    );
}

#[test]
fn of_two_distros_the_first_owns_the_port_and_the_other_takes_over() {
    let mut bench = Bench::new();
    bench.put("b", &[forward(1, 8000)], &[]);
    bench.put("a", &[forward(2, 8000)], &[]);
    bench.settle(false);
    bench.expect("b", 1, ForwardState::Active, "");
    bench.expect("a", 2, ForwardState::Conflict, "distro `b`");

    bench.put("b", &[], &[]);

    let actions = bench.settle(false);
    assert_eq!(
        actions[0],
        Action::Close {
            key: key(8000),
            connections: Connections::Drain
        }
    );
    assert!(matches!(&actions[1], Action::Open { distro, .. } if distro == "a"));
    bench.expect("a", 2, ForwardState::Active, "");
}

#[test]
fn a_listener_that_went_away_drains_and_a_revoked_one_is_cut() {
    for (revoked, expected) in [(vec![], Connections::Drain), (vec![1], Connections::Cut)] {
        let mut bench = Bench::new();
        bench.put("a", &[forward(1, 8000)], &[]);
        bench.settle(false);

        bench.put("a", &[], &revoked);

        assert_eq!(
            bench.settle(false),
            [Action::Close {
                key: key(8000),
                connections: expected
            }]
        );
    }
}

#[test]
fn a_distro_that_is_gone_is_cut() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);

    bench.ledger.forget("a");

    assert_eq!(
        bench.settle(false),
        [Action::Close {
            key: key(8000),
            connections: Connections::Cut
        }]
    );
    assert_eq!(
        statuses(&bench.desired(), &bench.actual, &Opinions::new(), "a"),
        []
    );
}

#[test]
fn a_new_listener_on_the_same_port_takes_the_open_relay_over() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);

    bench.put("a", &[forward(2, 8000)], &[]);

    let adopt = Action::Adopt {
        key: key(8000),
        id: ForwardId(2),
    };
    assert_eq!(bench.settle(false), [adopt]);
    assert_eq!(bench.settle(false), []);
}

#[test]
fn a_new_listener_beside_a_revoked_one_gets_a_new_relay() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);

    bench.put("a", &[forward(2, 8000)], &[1]);

    let actions = bench.settle(false);
    assert_eq!(
        actions[0],
        Action::Close {
            key: key(8000),
            connections: Connections::Cut
        }
    );
    assert!(matches!(&actions[1], Action::Open { id: ForwardId(2), .. }));
    assert_eq!(actions.len(), 4);
}

#[test]
fn a_listener_that_moves_to_another_port_of_windows_drains_the_old_one() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);

    bench.put(
        "a",
        &[Forward {
            listen_port: 8888,
            ..forward(1, 8000)
        }],
        &[],
    );

    assert_eq!(
        bench.settle(false)[0],
        Action::Close {
            key: key(8000),
            connections: Connections::Drain
        }
    );
}

#[test]
fn a_forward_pushed_over_the_limit_is_cut_and_told_so() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000), forward(2, 8001)], &[]);
    bench.settle(false);

    bench.limit(1);

    assert_eq!(
        bench.settle(false),
        [Action::Close {
            key: key(8001),
            connections: Connections::Cut
        }]
    );
    bench.expect(
        "a",
        2,
        ForwardState::OverLimit,
        "`max-forwards` in companion.toml",
    );
}

#[test]
fn a_new_address_of_the_vm_is_only_a_new_target() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);

    bench.peer("a", "172.20.0.77");

    let expected = Action::Retarget {
        key: key(8000),
        target: address("172.20.0.77:8000"),
    };
    assert_eq!(bench.settle(false), [expected]);
}

#[test]
fn a_thousand_forwards_get_their_new_target_in_one_pass() {
    let mut bench = Bench::new();
    let ports = 10_000..11_000_u16;
    let forwards: Vec<Forward> = ports.clone().map(|port| forward(port.into(), port)).collect();
    bench.put("a", &forwards, &[]);
    bench.settle(false);

    bench.peer("a", "172.20.0.77");
    let pass = bench.pass(false);

    let expected = ports.map(|port| Action::Retarget {
        key: key(port),
        target: address(&format!("172.20.0.77:{port}")),
    });
    assert!(pass.into_iter().eq(expected));
    assert_eq!(bench.pass(false), []);
}

#[test]
fn a_new_address_of_windows_is_followed() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);
    bench.interfaces.retain(|interface| interface.name != "Ethernet");
    bench
        .interfaces
        .push(interface("Ethernet", &[("192.168.1.21", 24)]));

    let actions = bench.settle(false);

    assert_eq!(
        actions,
        [
            Action::Unlisten {
                key: key(8000),
                address: address("192.168.1.20:8000")
            },
            Action::Unlisten {
                key: key(8000),
                address: address("[2001:db8::20]:8000")
            },
            Action::Listen {
                key: key(8000),
                address: address("192.168.1.21:8000")
            },
        ]
    );
}

#[test]
fn a_port_that_somebody_holds_is_a_conflict_until_a_retry_succeeds() {
    let mut bench = Bench::new();
    bench
        .busy
        .extend([address("192.168.1.20:8000"), address("[2001:db8::20]:8000")]);
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);
    bench.expect("a", 1, ForwardState::Conflict, "192.168.1.20:8000 is held");
    assert!(bench.actual.has_failures());

    bench.busy.clear();
    assert_eq!(bench.settle(false), []);
    assert_eq!(bench.settle(true).len(), 2);
    bench.expect("a", 1, ForwardState::Active, "");
    assert!(!bench.actual.has_failures());
}

#[test]
fn one_address_of_two_is_active_and_names_the_other() {
    let mut bench = Bench::new();
    bench.busy.insert(address("192.168.1.20:8000"));
    bench.put("a", &[forward(1, 8000)], &[]);

    bench.settle(false);

    bench.expect("a", 1, ForwardState::Active, "192.168.1.20:8000 is held");
    assert_eq!(bench.status("a", 1).listen, listens(&["[2001:db8::20]:8000"]));
}

#[test]
fn an_address_that_fails_for_another_reason_is_pending() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);
    for applied in bench.actual.relays.values_mut() {
        let failure = Failure {
            reason: "the address is not there yet".into(),
            conflict: None,
            stuck: None,
        };
        applied.failed = applied
            .listening
            .iter()
            .map(|address| (*address, failure.clone()))
            .collect();
        applied.listening.clear();
    }

    let status = bench.status("a", 1);

    // Said once, though both addresses failed.
    assert_eq!(
        (status.state, status.reason.as_str()),
        (ForwardState::Pending, "the address is not there yet")
    );
}

#[test]
fn before_the_actions_ran_a_forward_is_pending() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);

    bench.expect("a", 1, ForwardState::Pending, "being opened");
}

#[test]
fn an_address_that_is_to_be_closed_is_not_told_as_open() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);
    bench.interfaces.retain(|interface| interface.name != "Ethernet");
    bench
        .interfaces
        .push(interface("Ethernet", &[("192.168.1.21", 24)]));

    bench.expect("a", 1, ForwardState::Pending, "being opened");
    assert_eq!(bench.status("a", 1).listen, []);
}

#[test]
fn statuses_follow_the_order_of_the_set() {
    let mut bench = Bench::new();
    bench.limit(3);
    bench.put(
        "a",
        &[
            forward(9, 9000),
            forward(1, 445),
            forward(5, 7000),
            forward(3, 6000),
        ],
        &[],
    );

    let ids: Vec<u64> = statuses(&bench.desired(), &bench.actual, &Opinions::new(), "a")
        .iter()
        .map(|s| s.id.0)
        .collect();

    assert_eq!(ids, [9, 1, 5, 3]);
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
