//! Which sockets are shared, by where they are bound and how Windows reaches the VM.

use super::*;

#[test]
fn a_wildcard_and_the_own_address_are_shared() {
    let expected = |bind| {
        Verdict::Expose(Exposure {
            way: Way::Dial(bind),
            listen_port: ListenPort::Same,
            reach: Reach::Lan,
            name: None,
            decided_by: DecidedBy::Default,
        })
    };

    for address in ["0.0.0.0:8000", "[::]:8000", "[::ffff:0.0.0.0]:8000"] {
        assert_eq!(
            decide(&policy(""), &socket(1, address), &by_v4()),
            expected(Bind::Wildcard),
            "{address}"
        );
    }
    for address in ["172.20.0.2:8000", "[::ffff:172.20.0.2]:8000"] {
        assert_eq!(
            decide(&policy(""), &socket(1, address), &by_v4()),
            expected(Bind::Address),
            "{address}"
        );
    }
    assert_eq!(reason(&on_device(1, "0.0.0.0:80", ETH0), &by_v4()), "expose");
}

#[test]
fn reach_comes_from_the_configuration() {
    let verdict = decide(
        &policy("[expose]\nreach = \"host\"\n"),
        &socket(1, "0.0.0.0:80"),
        &by_v4(),
    );

    assert_eq!(verdict.exposure().unwrap().reach, Reach::Host);
}

#[test]
fn what_is_not_shared_says_why() {
    for (socket, expected) in [
        (
            socket(1, "127.0.0.1:80"),
            "bound to 127.0.0.1 only; Windows' own localhost forwarding of WSL still reaches it at localhost; bind to 0.0.0.0 to share it, or bridge it by a rule",
        ),
        (
            socket(1, "[::ffff:127.0.0.1]:80"),
            "bound to 127.0.0.1 only; Windows' own localhost forwarding of WSL still reaches it at localhost; bind to 0.0.0.0 to share it, or bridge it by a rule",
        ),
        (
            socket(1, "[::1]:80"),
            "bound to ::1 only; Windows' own localhost forwarding of WSL still reaches it at localhost; bind to 0.0.0.0 to share it, or bridge it by a rule",
        ),
        (
            socket(1, "127.0.0.53:80"),
            "bound to 127.0.0.53 only; bind to 0.0.0.0 to share it, or bridge it by a rule",
        ),
        (
            socket(1, "172.17.0.1:80"),
            "bound to 172.17.0.1, the address of docker0, and Windows reaches this VM by 172.20.0.2; bind to 0.0.0.0 to share it",
        ),
        (
            socket(1, "10.9.9.9:80"),
            "bound to 10.9.9.9, which no interface has at the moment, and Windows reaches this VM by 172.20.0.2; bind to 0.0.0.0 to share it",
        ),
        (
            on_device(1, "0.0.0.0:80", DOCKER0),
            "bound to the interface docker0 only (SO_BINDTODEVICE), and Windows reaches this VM by eth0",
        ),
        (
            on_device(1, "0.0.0.0:80", 77),
            "bound to the interface number 77 only (SO_BINDTODEVICE), and Windows reaches this VM by eth0",
        ),
        (
            v6only(1, "[::]:80"),
            "listens on IPv6 only, and WSL's NAT network is IPv4; listen on 0.0.0.0 (or on :: without IPV6_V6ONLY) to share it",
        ),
        (
            socket(1, "[fd00::2]:80"),
            "listens on IPv6 only, and WSL's NAT network is IPv4; listen on 0.0.0.0 (or on :: without IPV6_V6ONLY) to share it",
        ),
    ] {
        assert_eq!(reason(&socket, &by_v4()), expected, "{:?}", socket.address);
    }
}

#[test]
fn a_companion_reached_by_ipv6_turns_the_families_round() {
    assert_eq!(reason(&v6only(1, "[::]:80"), &by_v6()), "expose");
    assert_eq!(reason(&socket(1, "[fd00::2]:80"), &by_v6()), "expose");
    for address in ["0.0.0.0:80", "172.20.0.2:80", "[::ffff:0.0.0.0]:80"] {
        let reason = reason(&socket(1, address), &by_v6());

        assert_eq!(
            reason, "listens on IPv4 only, and the companion is reached by IPv6",
            "{address}"
        );
    }
}

#[test]
fn only_the_address_that_is_dialled_is_shared() {
    let mut view = view();
    let eth0 = view.interfaces.get_mut(&ETH0).unwrap();
    eth0.addresses.push(("172.20.0.77".parse().unwrap(), 20));
    let alone = Surroundings::new(&view, NetworkMode::Nat, false);
    let [first, second] = ["172.20.0.2", "172.20.0.77"].map(|peer| peer.parse::<IpAddr>().unwrap());
    let refused = |bound, dialled| {
        format!(
            "bound to {bound}, the address of eth0, and Windows reaches this VM by {dialled}; bind to 0.0.0.0 to share it"
        )
    };

    for (surroundings, shared, private) in [
        (alone.clone(), first, second),
        (alone.clone().dialled_at(first), first, second),
        (alone.dialled_at(second), second, first),
    ] {
        let bound_to = |address: IpAddr| socket(1, &format!("{address}:80"));

        assert_eq!(reason(&bound_to(shared), &surroundings), "expose");
        assert_eq!(
            reason(&bound_to(private), &surroundings),
            refused(private, shared)
        );
    }
}

#[test]
fn the_interface_by_which_windows_comes_in_is_the_one_of_the_session() {
    let by_docker0 = by_v4().dialled_at("172.17.0.1".parse().unwrap());

    assert_eq!(
        reason(&on_device(1, "0.0.0.0:80", DOCKER0), &by_docker0),
        "expose"
    );
    assert!(reason(&on_device(1, "0.0.0.0:80", ETH0), &by_docker0).contains("by docker0"));
}

#[test]
fn an_unknown_v6only_counts_as_dual_stack() {
    let unknown = Socket {
        v6only: None,
        ..socket(1, "[::]:80")
    };

    assert_eq!(reason(&unknown, &by_v4()), "expose");
}

#[test]
fn without_a_default_route_a_wildcard_is_still_wanted() {
    let lost = NetworkView {
        default_gateway_v4: None,
        ..view()
    };
    let lost = Surroundings::new(&lost, NetworkMode::Nat, false);

    assert_eq!(
        ports("", &[socket(1, "0.0.0.0:80")], &lost),
        ["80 id 1 Wildcard lan"]
    );
    assert!(reason(&socket(1, "172.20.0.2:80"), &lost).contains("there is no default route"));
}
