//! What companion.toml, the always refused ports and the surroundings keep closed.

use super::*;

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
