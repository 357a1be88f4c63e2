//! Bridges to loopback listeners, and Windows' own 127.0.0.1.

use super::*;

#[test]
fn loopback_is_bridged_by_a_rule_that_says_so_and_by_nothing_else() {
    let rule = "[[rule]]\nwhen = \"port=5173\"\nloopback = \"bridge\"\n";

    for address in ["127.0.0.1:5173", "[::1]:5173", "127.0.0.53:5173"] {
        let bridged = decide(&policy(rule), &socket(1, address), &by_v4());
        let other = decide(
            &policy("[[rule]]\nwhen = \"port=5173\"\nexpose = true\n"),
            &socket(1, address),
            &by_v4(),
        );

        assert_eq!(
            bridged.exposure().map(|exposure| exposure.way),
            Some(Way::Bridge),
            "{address}"
        );
        assert_eq!(other.decided_by(), Some(&DecidedBy::Binding), "{address}");
    }
    let wildcard = decide(&policy(rule), &socket(1, "0.0.0.0:5173"), &by_v4());
    assert_eq!(
        wildcard.exposure().map(|exposure| exposure.way),
        Some(Way::Dial(Bind::Wildcard)),
        "what Windows can dial needs no bridge"
    );
}

#[test]
fn a_bridge_leads_to_one_service_and_gives_way_to_what_a_dial_meets() {
    let rule = "[[rule]]\nwhen = \"port=80\"\nloopback = \"bridge\"\n";
    let wanted_of = |sockets: &[Socket]| {
        let policy = policy(rule);
        let verdicts: Vec<Verdict> = sockets
            .iter()
            .map(|socket| decide(&policy, socket, &by_v4()))
            .collect();
        let decided: Vec<Decided<'_>> = sockets
            .iter()
            .zip(&verdicts)
            .map(|(socket, verdict)| Decided { socket, verdict })
            .collect();
        match wanted(&decided, &by_v4()).remove(0).outcome {
            Outcome::Wanted(wanted) => (wanted.id, wanted.bridge_to),
            other @ (Outcome::Withheld { .. } | Outcome::Waits { .. }) => panic!("{other:?}"),
        }
    };

    let both = [socket(1, "[::1]:80"), socket(2, "127.0.0.1:80")];
    assert_eq!(wanted_of(&both), (2, Some("127.0.0.1:80".parse().unwrap())));
    assert_eq!(wanted_of(&both[..1]), (1, Some("[::1]:80".parse().unwrap())));
    let beside = [socket(1, "127.0.0.1:80"), socket(2, "172.20.0.2:80")];
    assert_eq!(wanted_of(&beside), (2, None));
}

/// Each case: the sockets of the VM, whether WSL leaves Windows' 127.0.0.1 free at the port of the first.
#[test]
fn wsl_takes_windows_loopback_for_ipv4_listeners_and_leaves_the_rest() {
    let udp = |address: &str| Socket {
        protocol: Protocol::Udp,
        ..socket(1, address)
    };
    let rules = "[[rule]]\nwhen = \"port=8000\"\nudp = true\n\
                 [[rule]]\nwhen = \"port=8001\"\nlisten-port = 9000\n\
                 [[rule]]\nwhen = \"port=8002\"\nloopback = \"bridge\"\n";
    for (sockets, left_free) in [
        (vec![socket(1, "0.0.0.0:8000")], false),
        (vec![socket(1, "[::]:8000")], true),
        (vec![socket(1, "172.20.0.2:8000")], true),
        // WSL compares whole addresses, and takes this one for a strange one.
        (vec![socket(1, "[::ffff:0.0.0.0]:8000")], true),
        (vec![udp("0.0.0.0:8000")], true),
        (vec![udp("0.0.0.0:8000"), socket(2, "0.0.0.0:8000")], true),
        // Whoever's it is, and whether it is shared or not.
        (vec![socket(1, "[::]:8000"), socket(2, "127.0.0.1:8000")], false),
        (vec![socket(1, "[::]:8000"), socket(2, "127.0.0.2:8000")], true),
        (vec![socket(1, "[::]:8000"), socket(2, "[::1]:8000")], true),
        (vec![socket(1, "[::]:8000"), socket(2, "0.0.0.0:8010")], true),
        // The wanted port of Windows counts, not that of the VM.
        (vec![socket(1, "0.0.0.0:8001")], true),
        (
            vec![socket(1, "0.0.0.0:8001"), socket(2, "127.0.0.1:9000")],
            false,
        ),
        (vec![socket(1, "127.0.0.1:8002")], false),
        (vec![socket(1, "[::1]:8002")], true),
    ] {
        let verdicts: Vec<Verdict> = sockets
            .iter()
            .map(|socket| match socket.id() {
                1 => decide(&policy(rules), socket, &by_v4()),
                _ => Verdict::not_ours(),
            })
            .collect();
        let decided: Vec<Decided<'_>> = sockets
            .iter()
            .zip(&verdicts)
            .map(|(socket, verdict)| Decided { socket, verdict })
            .collect();

        let ports = wanted(&decided, &by_v4());

        let asked = ports.iter().find_map(|port| match &port.outcome {
            Outcome::Wanted(wanted) => Some(wanted.loopback_gap),
            Outcome::Withheld { .. } | Outcome::Waits { .. } => None,
        });
        assert_eq!(asked, Some(left_free), "{sockets:?}");
    }
}

#[test]
fn a_bridge_leads_to_no_group_of_which_one_must_stay_private() {
    let config = "opt-out = [\"uid=0\"]\n[[rule]]\nwhen = \"port=80,uid=1000\"\nloopback = \"bridge\"\n";
    let private = |address| Socket {
        uid: 0,
        ..socket(20, address)
    };
    let beside = |other| ports(config, &[socket(10, "127.0.0.1:80"), other], &by_v4()).remove(0);

    for shared in ["127.0.0.1:80", "[::ffff:127.0.0.1]:80"] {
        let withheld = beside(private(shared));
        assert!(withheld.contains("which is withheld: opted out by"), "{withheld}");
    }
    let apart = beside(private("127.0.0.2:80"));
    assert!(apart.starts_with("80 id 10 Address"), "{apart}");
}
