//! Windows' own 127.0.0.1, where WSL leaves it free.

use super::bench::loopback;
use super::*;

const GAP: &str = "127.0.0.1:8000";

#[test]
fn a_gap_is_filled_beside_the_networks_and_left_when_wsl_takes_over() {
    let mut bench = windows();
    bench.put("a", &[with_gap(forward(1, 8000))], &[]);

    let actions = bench.settle(false);

    assert_eq!(actions.last(), Some(&Action::FillGap { key: key(8000) }));
    bench.expect("a", 1, ForwardState::Active, "");
    assert_eq!(
        bench.status("a", 1).listen,
        listens(&["192.168.1.20:8000", "[2001:db8::20]:8000", GAP])
    );

    bench.put("a", &[forward(1, 8000)], &[]);
    let left = Action::Unlisten {
        key: key(8000),
        address: address(GAP),
    };
    assert_eq!(bench.settle(false), [left]);
    assert_eq!(
        bench.status("a", 1).listen,
        listens(&["192.168.1.20:8000", "[2001:db8::20]:8000"])
    );
}

#[test]
fn nobody_listens_on_loopback_unless_the_distro_says_that_wsl_does_not() {
    let mut bench = windows();
    bench.put("a", &[forward(1, 8000), auto(2, 8001), udp(3, 8002)], &[]);

    let actions = bench.settle(false);

    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::FillGap { .. }))
    );
}

#[test]
fn whoever_is_there_keeps_it_and_the_forward_is_active_all_the_same() {
    let mut bench = windows();
    bench.busy.insert(address(GAP));
    bench.put("a", &[with_gap(forward(1, 8000))], &[]);

    bench.settle(false);
    bench.expect("a", 1, ForwardState::Active, "127.0.0.1:8000 is held");

    bench.busy.clear();
    assert_eq!(bench.settle(true), [Action::FillGap { key: key(8000) }]);
    bench.expect("a", 1, ForwardState::Active, "");
}

#[test]
fn a_gap_is_no_substitute_for_the_networks() {
    let mut bench = windows();
    bench
        .busy
        .extend([address("192.168.1.20:8000"), address("[2001:db8::20]:8000")]);
    bench.put("a", &[with_gap(forward(1, 8000))], &[]);

    bench.settle(false);
    bench.expect("a", 1, ForwardState::Conflict, "192.168.1.20:8000 is held");
    assert_eq!(bench.status("a", 1).listen, listens(&[GAP]));

    bench.interfaces.retain(|interface| interface.name != "Ethernet");
    bench.settle(false);
    bench.expect("a", 1, ForwardState::Pending, "connect Windows to a network");
}

#[test]
fn reach_host_is_a_relay_on_loopback_alone() {
    let mut bench = windows();
    let host = |forward| Forward {
        reach: Reach::Host,
        ..with_gap(forward)
    };
    let elsewhere = Forward {
        listen_port: 9000,
        ..host(forward(2, 8001))
    };
    bench.put("a", &[host(forward(1, 8000)), elsewhere, host(udp(3, 8002))], &[]);

    bench.settle(false);

    for (id, at) in [(1, GAP), (2, "127.0.0.1:9000"), (3, "127.0.0.1:8002")] {
        bench.expect("a", id, ForwardState::Active, "");
        assert_eq!(bench.status("a", id).listen, listens(&[at]));
    }
    assert_eq!(bench.actual.relays[&key(9000)].target, address("172.20.0.2:8001"));
}

#[test]
fn a_ceiling_leaves_the_gap_and_is_named() {
    let mut bench = windows();
    bench.config("reach = \"host\"");
    bench.put("a", &[with_gap(forward(1, 8000))], &[]);

    bench.settle(false);

    bench.expect("a", 1, ForwardState::Active, "keeps it off the local network");
    assert_eq!(bench.status("a", 1).listen, listens(&[GAP]));

    bench.busy.insert(address("127.0.0.1:8001"));
    bench.put("a", &[with_gap(forward(2, 8001))], &[]);
    bench.settle(false);
    bench.expect("a", 2, ForwardState::Conflict, "127.0.0.1:8001 is held");
}

#[test]
fn another_port_on_windows_alone_is_denied_where_wsl_has_it_or_loopback_is_excluded() {
    let elsewhere = Forward {
        listen_port: 9000,
        reach: Reach::Host,
        ..forward(1, 8000)
    };
    let mut bench = windows();
    bench.put("a", std::slice::from_ref(&elsewhere), &[]);
    bench.settle(false);
    bench.expect("a", 1, ForwardState::Denied, "WSL itself has 127.0.0.1:9000");

    bench.config("exclude-interfaces = [\"Loopback*\"]");
    bench.put("a", &[with_gap(elsewhere)], &[]);
    bench.settle(false);
    bench.expect("a", 1, ForwardState::Denied, "`exclude-interfaces`");
}

#[test]
fn a_forward_that_found_another_port_does_not_take_that_one_on_loopback() {
    let mut bench = windows();
    bench.busy.insert(address("192.168.1.20:8000"));
    bench.put("a", &[with_gap(auto(1, 8000))], &[]);

    bench.settle(false);

    assert_eq!(
        bench.status("a", 1).listen,
        listens(&["192.168.1.20:8001", "[2001:db8::20]:8001"])
    );
}

#[test]
fn who_needs_no_relay_and_would_take_any_port_gets_none() {
    let mut bench = windows();
    let host = Forward {
        reach: Reach::Host,
        ..with_gap(auto(1, 8000))
    };
    bench.put("a", &[host], &[]);

    assert_eq!(bench.settle(false), []);
    bench.expect("a", 1, ForwardState::Active, "172.20.0.2:8000");
}

fn windows() -> Bench {
    let mut bench = Bench::new();
    bench.interfaces.push(loopback());
    bench
}
