//! What becomes of open ports and their connections when listeners, distros and addresses come and go.

use super::*;

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
