//! Sockets of one port: what one forward stands for, and who is in its way.

use super::*;

#[test]
fn a_socket_of_its_own_is_its_own_forward() {
    let sockets = [
        socket(9, "0.0.0.0:443"),
        socket(7, "172.20.0.2:80"),
        socket(8, "127.0.0.1:81"),
    ];

    let ports = ports("", &sockets, &by_v4());

    assert_eq!(ports[0], "80 id 7 Address lan");
    assert!(ports[1].starts_with("81: bound to 127.0.0.1 only"), "{ports:?}");
    assert_eq!(ports[2], "443 id 9 Wildcard lan");
}

#[test]
fn a_reuseport_group_is_one_forward_with_the_smallest_id() {
    let group = [
        socket(30, "0.0.0.0:80"),
        socket(10, "0.0.0.0:80"),
        socket(20, "0.0.0.0:80"),
    ];

    assert_eq!(ports("", &group, &by_v4()), ["80 id 10 Wildcard lan"]);
}

#[test]
fn one_withheld_member_withholds_the_group_and_is_named() {
    let group = [
        socket(10, "0.0.0.0:80"),
        Socket {
            uid: 0,
            ..socket(20, "0.0.0.0:80")
        },
    ];

    assert_eq!(
        ports("opt-out = [\"uid=0\"]\n", &group, &by_v4()),
        [
            "80: shares its port with 0.0.0.0:80, which is withheld: opted out by \"uid=0\" (/etc/wslnetd/config.toml:1)"
        ]
    );
}

#[test]
fn a_member_of_another_distro_withholds_the_group() {
    let (ours, theirs) = (socket(10, "0.0.0.0:80"), socket(20, "0.0.0.0:80"));
    let (expose, foreign) = (decide(&policy(""), &ours, &by_v4()), Verdict::not_ours());

    let ports = wanted(
        &[
            Decided {
                socket: &ours,
                verdict: &expose,
            },
            Decided {
                socket: &theirs,
                verdict: &foreign,
            },
        ],
        &by_v4(),
    );

    assert!(
        matches!(&ports[0].outcome, Outcome::Withheld { reason } if reason.contains("another distro")),
        "{ports:?}"
    );
    assert_eq!(ports[0].receivers, [10, 20]);
}

#[test]
fn sockets_that_a_dial_cannot_meet_do_not_matter() {
    for other in [
        v6only(5, "[::]:80"),
        socket(5, "127.0.0.1:80"),
        socket(5, "172.17.0.1:80"),
        socket(5, "[::1]:80"),
        on_device(5, "0.0.0.0:80", DOCKER0),
    ] {
        let sockets = [socket(10, "0.0.0.0:80"), other];

        assert_eq!(
            ports("", &sockets, &by_v4()),
            ["80 id 10 Wildcard lan"],
            "{:?}",
            sockets[1]
        );
    }
}

#[test]
fn the_exact_address_shadows_the_wildcard_and_ipv4_the_dual_stack() {
    let opt_out = "opt-out = [\"uid=0\"]\n";
    let private = |address| Socket {
        uid: 0,
        ..socket(5, address)
    };

    for (shadowing, shadowed) in [
        ("172.20.0.2:80", "0.0.0.0:80"),
        ("172.20.0.2:80", "[::]:80"),
        ("0.0.0.0:80", "[::]:80"),
    ] {
        let open = ports(opt_out, &[socket(10, shadowing), private(shadowed)], &by_v4());
        let shut = ports(opt_out, &[private(shadowing), socket(10, shadowed)], &by_v4());

        assert!(open[0].starts_with("80 id 10"), "{open:?}");
        assert!(shut[0].starts_with("80: opted out"), "{shut:?}");
    }
}
