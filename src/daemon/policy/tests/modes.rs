//! What the networking modes other than NAT make of listeners.

use super::*;

fn in_mode(mode: NetworkMode) -> Surroundings {
    // As in a session: it comes from 127.0.0.1, which must not be taken for an address of the VM that is dialled.
    Surroundings::new(&view(), mode, false).dialled_at("127.0.0.1".parse().unwrap())
}

fn sharing() -> [Surroundings; 2] {
    [in_mode(NetworkMode::Mirrored), in_mode(NetworkMode::VirtioProxy)]
}

#[test]
fn where_ports_are_shared_wildcards_and_own_addresses_are_shared_in_both_families() {
    for surroundings in sharing() {
        for (listener, bind) in [
            (socket(1, "0.0.0.0:8000"), "Wildcard"),
            (socket(1, "[::]:8000"), "Wildcard"),
            (socket(1, "172.20.0.2:8000"), "Address"),
            (socket(1, "[fd00::2]:8000"), "Address"),
            // At Windows' 127.0.0.1 it is not.
            (v6only(1, "[::]:8000"), "Address"),
            (on_device(1, "0.0.0.0:8000", ETH0), "Wildcard"),
        ] {
            let expected = [format!("8000 id 1 {bind} lan")];

            assert_eq!(
                ports("", std::slice::from_ref(&listener), &surroundings),
                expected,
                "{listener:?}"
            );
        }
        assert!(reason(&socket(1, "172.17.0.1:8000"), &surroundings).contains("docker0"));
        assert!(reason(&on_device(1, "0.0.0.0:8000", DOCKER0), &surroundings).contains("docker0"));
    }
}

#[test]
fn where_ports_are_shared_loopback_is_windows_own_and_no_rule_bridges_it() {
    let bridge = "[[rule]]\nwhen = \"port=8000\"\nloopback = \"bridge\"\n";
    for surroundings in sharing() {
        let private = reason(&socket(1, "127.0.0.1:8000"), &surroundings);
        let bridged = ports(bridge, &[socket(1, "127.0.0.1:8000")], &surroundings);

        assert!(
            private.contains("Windows itself reaches it at 127.0.0.1:8000"),
            "{private}"
        );
        assert!(!private.contains("bridge"), "{private}");
        assert!(bridged[0].contains("a bridge is not possible"), "{bridged:?}");
        for elsewhere in ["127.0.0.2:8000", "[::1]:8000"] {
            let private = reason(&socket(1, elsewhere), &surroundings);
            assert!(
                private.starts_with("bound to") && !private.contains("Windows"),
                "{private}"
            );
        }
    }
}

#[test]
fn where_ports_are_shared_another_port_is_not_to_be_had() {
    let at = |listen: &str| format!("[[rule]]\nwhen = \"port=8000\"\nlisten-port = {listen}\n");
    for surroundings in sharing() {
        let ask = |listen: &str| ports(&at(listen), &[socket(1, "0.0.0.0:8000")], &surroundings);

        assert_eq!(ask("8000"), ["8000 id 1 Wildcard lan"]);
        assert_eq!(ask("\"auto\""), ["8000 id 1 Wildcard lan"]);
        let refused = ask("8888");
        assert!(
            refused[0].contains("wants it at port 8888") && refused[0].contains("config.toml:"),
            "{refused:?}"
        );
    }
}

#[test]
fn where_ports_are_shared_no_search_and_no_gap_is_asked_for() {
    for surroundings in sharing() {
        let text = "[[rule]]\nwhen = \"port=8000\"\nlisten-port = \"auto\"\n";
        let socket = socket(1, "[::]:8000");
        let verdict = decide(&policy(text), &socket, &surroundings);
        let decided = [Decided {
            socket: &socket,
            verdict: &verdict,
        }];

        let wanted = wanted(&decided, &surroundings);

        let Outcome::Wanted(wanted) = &wanted[0].outcome else {
            panic!("{wanted:?}");
        };
        assert_eq!(
            (wanted.auto, wanted.loopback_gap, wanted.listen_port),
            (false, false, 8000)
        );
    }
}

#[test]
fn a_rule_of_the_firewall_is_for_every_socket_of_a_port_so_all_must_be_shared() {
    let config = "opt-out = [\"bind!=wildcard\"]\n";
    for surroundings in sharing() {
        for private in [
            socket(2, "172.20.0.2:8000"),
            socket(2, "172.17.0.1:8000"),
            v6only(2, "[fd00::2]:8000"),
        ] {
            let both = [socket(1, "0.0.0.0:8000"), private.clone()];

            let ports = ports(config, &both, &surroundings);

            assert!(ports[0].contains("shares its port"), "{private:?}: {ports:?}");
        }
        // What is on the loopback address is met by nobody from the network.
        let both = [socket(1, "0.0.0.0:8000"), socket(2, "127.0.0.1:8000")];
        assert_eq!(ports("", &both, &surroundings), ["8000 id 1 Wildcard lan"]);
    }
}

#[test]
fn what_mirrored_mode_never_hands_over_is_told() {
    for port in [135, 1900, 2869, 3702, 5004, 5357, 5358] {
        let listener = socket(1, &format!("0.0.0.0:{port}"));

        let why = reason(&listener, &in_mode(NetworkMode::Mirrored));

        assert!(why.contains("Windows keeps TCP port"), "{why}");
        assert_eq!(reason(&listener, &in_mode(NetworkMode::VirtioProxy)), "expose");
        assert_eq!(reason(&listener, &by_v4()), "expose");
    }
}

#[test]
fn udp_by_rule_is_shared_as_it_is() {
    let text = "[[rule]]\nwhen = \"port=5000\"\nudp = true\n";
    let udp = Socket {
        protocol: Protocol::Udp,
        ..socket(1, "0.0.0.0:5000")
    };
    for surroundings in sharing() {
        assert_eq!(
            ports(text, std::slice::from_ref(&udp), &surroundings),
            ["5000 id 1 Wildcard lan"]
        );
        assert!(ports("", std::slice::from_ref(&udp), &surroundings)[0].contains("udp = true"));
    }
}

#[test]
fn in_bridged_mode_it_is_told_that_nothing_protects_the_port() {
    let surroundings = Surroundings::new(&view(), NetworkMode::Bridged, false);

    let why = reason(&socket(1, "0.0.0.0:8000"), &surroundings);

    assert!(
        why.contains("bridged") && why.contains("172.20.0.2:8000, [fd00::2]:8000"),
        "{why}"
    );
    assert!(why.contains("closes nothing"), "{why}");
}

#[test]
fn modes_without_anything_to_share_share_nothing() {
    for mode in [
        NetworkMode::Bridged,
        NetworkMode::None,
        NetworkMode::Wsl1,
        NetworkMode::Unknown("new".to_owned()),
    ] {
        let surroundings = Surroundings::new(&view(), mode.clone(), false);
        for address in ["0.0.0.0:80", "172.20.0.2:80", "127.0.0.1:80"] {
            let verdict = decide(&policy(""), &socket(1, address), &surroundings);

            assert_eq!(verdict.decided_by(), Some(&DecidedBy::Mode));
            assert!(
                matches!(verdict, Verdict::Withhold { reason, .. } if reason.contains(&mode.to_string()))
            );
        }
    }
}
