//! Verdicts, and what is asked of Windows.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use wslnet_console::diagnose::Source;
use wslnet_protocol::{Bind, Protocol, Reach};

use super::{Decided, DecidedBy, Exposure, Outcome, Policy, Surroundings, Verdict, Way, wanted};
use crate::config::{self, ListenPort, selector_tests::selector_text};
use crate::labels::{Declared, labels_of};
use crate::listeners::Socket;
use crate::network::{Iface, NetworkMode, NetworkView};

mod modes;

const ETH0: u32 = 2;
const DOCKER0: u32 = 3;

/// A VM with eth0, by which Windows reaches it, and docker0.
fn view() -> NetworkView {
    let iface = |name: &str, addresses: &[(&str, u8)]| Iface {
        name: name.to_owned(),
        addresses: addresses
            .iter()
            .map(|(address, prefix)| (address.parse().unwrap(), *prefix))
            .collect(),
    };
    NetworkView {
        interfaces: [
            (1, iface("lo", &[("127.0.0.1", 8), ("::1", 128)])),
            (ETH0, iface("eth0", &[("172.20.0.2", 20), ("fd00::2", 64)])),
            (DOCKER0, iface("docker0", &[("172.17.0.1", 16)])),
        ]
        .into(),
        default_gateway_v4: Some(("172.20.0.1".parse().unwrap(), ETH0)),
        default_gateway_v6: Some(("fd00::1".parse().unwrap(), ETH0)),
        default_interfaces: [ETH0].into(),
    }
}

fn by_v4() -> Surroundings {
    Surroundings::new(&view(), NetworkMode::Nat, false)
}

fn by_v6() -> Surroundings {
    Surroundings::new(&view(), NetworkMode::Nat, true)
}

/// A socket with the id `id`. `[::]` is dual-stack.
fn socket(id: u64, address: &str) -> Socket {
    let address: SocketAddr = address.parse().unwrap();
    Socket {
        protocol: Protocol::Tcp,
        address,
        v6only: address.is_ipv6().then_some(false),
        uid: 1000,
        inode: id,
        cookie: Some(id),
        interface: None,
    }
}

fn v6only(id: u64, address: &str) -> Socket {
    Socket {
        v6only: Some(true),
        ..socket(id, address)
    }
}

fn on_device(id: u64, address: &str, interface: u32) -> Socket {
    Socket {
        interface: Some(interface),
        ..socket(id, address)
    }
}

fn policy(text: &str) -> Policy {
    let source = Source {
        name: "/etc/wslnetd/config.toml".to_owned(),
        text: text.to_owned(),
    };
    Policy::new(&config::parse(vec![source]).unwrap_or_else(|report| panic!("{report}")))
}

fn decide(policy: &Policy, socket: &Socket, surroundings: &Surroundings) -> Verdict {
    policy.decide(socket, &labels_of(socket, None), &Declared::Known, surroundings)
}

/// The reason, or `expose`.
fn reason(socket: &Socket, surroundings: &Surroundings) -> String {
    match decide(&policy(""), socket, surroundings) {
        Verdict::Expose(_) => "expose".to_owned(),
        Verdict::Withhold { reason, .. } | Verdict::Wait { reason } => reason,
    }
}

/// The ports of sockets under the policy of `config`: `PORT id BIND reach` or `PORT: reason`.
fn ports(config: &str, sockets: &[Socket], surroundings: &Surroundings) -> Vec<String> {
    let policy = policy(config);
    let verdicts: Vec<Verdict> = sockets
        .iter()
        .map(|socket| decide(&policy, socket, surroundings))
        .collect();
    let decided: Vec<Decided<'_>> = sockets
        .iter()
        .zip(&verdicts)
        .map(|(socket, verdict)| Decided { socket, verdict })
        .collect();
    wanted(&decided, surroundings)
        .into_iter()
        .map(|port| match port.outcome {
            Outcome::Wanted(wanted) => format!(
                "{} id {} {:?} {}",
                port.port.number, wanted.id, wanted.bind, wanted.reach
            ),
            Outcome::Withheld { reason } | Outcome::Waits { reason } => {
                format!("{}: {reason}", port.port.number)
            }
        })
        .collect()
}

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

#[test]
fn the_first_selector_that_matches_is_the_reason() {
    let policy = policy("opt-out = [\n  \"port=1\",\n  \"port=80-89\",\n  \"bind=wildcard\",\n]\n");

    let verdict = decide(&policy, &socket(1, "0.0.0.0:80"), &by_v4());

    let Verdict::Withhold { reason, decided_by } = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(reason, "opted out by \"port=80-89\" (/etc/wslnetd/config.toml:3)");
    assert_eq!(
        decided_by.to_string(),
        "opt-out \"port=80-89\" at /etc/wslnetd/config.toml:3:3"
    );
}

/// The verdict about a socket with these labels beside its own.
fn with_labels(config: &str, socket: &Socket, labels: &[(&str, &str)], declared: &Declared) -> Verdict {
    let mut all = labels_of(socket, None);
    for (key, value) in labels {
        all.insert(*key, *value);
    }
    policy(config).decide(socket, &all, declared, &by_v4())
}

/// `expose WAY PORT reach NAME`, or why not; and what decided.
fn told(verdict: &Verdict) -> String {
    let by = verdict.decided_by().map(ToString::to_string).unwrap_or_default();
    match verdict {
        Verdict::Expose(Exposure {
            way,
            listen_port,
            reach,
            name,
            ..
        }) => {
            let name = name.as_deref().unwrap_or("-");
            format!("{way:?} {listen_port:?} {reach} {name} [{by}]")
        }
        Verdict::Withhold { reason, .. } => format!("{reason} [{by}]"),
        Verdict::Wait { reason } => format!("waits: {reason}"),
    }
}

#[test]
fn the_first_rule_that_matches_counts_and_no_other() {
    let config = concat!(
        "[[rule]]\nwhen = \"port=8000,process=node\"\nname = \"shop\"\nlisten-port = 80\n",
        "[[rule]]\nwhen = \"port=8000-8999\"\nreach = \"host\"\nlisten-port = \"auto\"\n",
        "[[rule]]\nwhen = \"process=node\"\nexpose = false\n",
    );
    let tell = |port: u16, process: &str| {
        let socket = socket(1, &format!("0.0.0.0:{port}"));
        told(&with_labels(
            config,
            &socket,
            &[("process", process)],
            &Declared::Known,
        ))
    };

    assert_eq!(
        tell(8000, "node"),
        "Dial(Wildcard) Fixed(80) lan shop [the rule for \"port=8000,process=node\" at /etc/wslnetd/config.toml:2:8]"
    );
    assert_eq!(
        tell(8001, "node"),
        "Dial(Wildcard) Auto host - [the rule for \"port=8000-8999\" at /etc/wslnetd/config.toml:6:8]"
    );
    assert_eq!(
        tell(9000, "node"),
        "kept private by the rule for \"process=node\" (/etc/wslnetd/config.toml:10) [the rule for \"process=node\" at /etc/wslnetd/config.toml:10:8]"
    );
    assert_eq!(
        tell(9000, "ruby"),
        "Dial(Wildcard) Same lan - [the default: what is not opted out is shared]"
    );
}

#[test]
fn a_rule_can_opt_a_case_back_in_and_only_by_saying_so() {
    let config =
        |word: &str| format!("opt-out = [\"process=redis\"]\n[[rule]]\nwhen = \"port=7000\"\n{word}\n");
    let redis = [("process", "redis")];
    let verdict =
        |word: &str, address: &str| with_labels(&config(word), &socket(1, address), &redis, &Declared::Known);

    assert!(verdict("expose = true", "0.0.0.0:7000").is_expose());
    assert!(!verdict("expose = true", "0.0.0.0:7001").is_expose());
    let kept = verdict("name = \"cache\"", "0.0.0.0:7000");
    assert!(
        told(&kept).starts_with("opted out by \"process=redis\""),
        "{kept:?}"
    );
}

#[test]
fn a_program_can_keep_itself_private_and_narrow_what_rules_say() {
    let rule = "[[rule]]\nwhen = \"port=80\"\nexpose = true\nreach = \"lan\"\nname = \"site\"\n";
    let tell = |config: &str, says: &str| {
        let verdict = with_labels(
            config,
            &socket(1, "0.0.0.0:80"),
            &[("wslnetd", says)],
            &Declared::Known,
        );
        told(&verdict)
    };

    for config in ["", rule] {
        assert!(tell(config, "off").starts_with("it says WSLNETD=off itself"));
        assert!(tell(config, "of").contains("and `of` means nothing here"));
    }
    assert!(tell("", "host,name=shop").starts_with("Dial(Wildcard) Same host shop"));
    assert!(tell(rule, "host,name=shop").starts_with("Dial(Wildcard) Same host site"));
    assert!(tell("[expose]\nreach = \"host\"\n", "lan").starts_with("Dial(Wildcard) Same lan -"));
    let narrow = "[[rule]]\nwhen = \"port=80\"\nreach = \"host\"\n";
    assert!(tell(narrow, "lan").starts_with("Dial(Wildcard) Same host -"));
}

#[test]
fn until_it_is_known_what_a_program_says_it_stays_private() {
    let unreadable = Declared::Unreadable {
        reason: "it blocks".to_owned(),
    };
    let verdict =
        |config: &str, declared: &Declared| with_labels(config, &socket(1, "0.0.0.0:80"), &[], declared);

    assert!(matches!(verdict("", &Declared::Pending), Verdict::Wait { .. }));
    assert_eq!(
        told(&verdict("", &unreadable)),
        "its environment cannot be read, and may say WSLNETD=off: it blocks [what the program says of itself]"
    );
    // Who is private anyway is told the reason that can be mended.
    let opted = verdict("opt-out = [\"port=80\"]\n", &Declared::Pending);
    assert!(told(&opted).starts_with("opted out by"), "{opted:?}");
}

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

#[test]
fn a_rule_that_keeps_something_private_is_about_udp_too() {
    let config = "[[rule]]\nwhen = \"uid=0\"\nexpose = false\n[[rule]]\nwhen = \"port=5300\"\nudp = true\n";
    let udp = |uid| {
        let udp = Socket {
            protocol: Protocol::Udp,
            uid,
            ..socket(1, "0.0.0.0:5300")
        };
        decide(&policy(config), &udp, &by_v4())
    };

    assert!(
        told(&udp(0)).starts_with("kept private by the rule for \"uid=0\""),
        "{:?}",
        udp(0)
    );
    assert!(udp(1000).is_expose());
}

#[test]
fn udp_takes_a_rule_that_says_so_and_some_ports_none() {
    let udp = |address: &str| Socket {
        protocol: Protocol::Udp,
        ..socket(1, address)
    };
    let rules = "[[rule]]\nwhen = \"port=1-65535\"\nudp = true\n";
    let tell = |config: &str, address: &str, process: &str| {
        told(&with_labels(
            config,
            &udp(address),
            &[("process", process)],
            &Declared::Known,
        ))
    };

    assert!(tell(rules, "0.0.0.0:5300", "dnsmasq").starts_with("Dial(Wildcard) Same lan"));
    for config in ["", "[[rule]]\nwhen = \"port=5300\"\nexpose = true\n"] {
        assert!(
            tell(config, "0.0.0.0:5300", "dnsmasq").starts_with("UDP is shared by a rule"),
            "{config}"
        );
    }
    for port in [67, 68, 137, 138, 546, 547, 1900, 3702, 5353, 5355] {
        let told = tell(rules, &format!("0.0.0.0:{port}"), "any");
        assert!(told.contains("never shared"), "{told}");
    }
    assert!(tell(rules, "172.20.0.2:53", "systemd-resolve").contains("the system's own DNS resolver"));
    assert!(tell(rules, "127.0.0.1:5300", "dnsmasq").contains("UDP is not bridged"));
    let tcp_too = decide(&policy(rules), &socket(1, "0.0.0.0:5300"), &by_v4());
    assert!(matches!(tcp_too.decided_by(), Some(DecidedBy::Rule { .. })));
}

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

/// Sockets on few ports, so that many share one.
fn sockets() -> impl Strategy<Value = Vec<Socket>> {
    let address = prop_oneof![
        Just("0.0.0.0"),
        Just("127.0.0.1"),
        Just("172.20.0.2"),
        Just("172.17.0.1"),
        Just("::"),
        Just("::1"),
        Just("fd00::2"),
        Just("::ffff:172.20.0.2"),
    ];
    let one = (
        address,
        1u16..5,
        0u32..5,
        prop::option::of(any::<bool>()),
        prop::option::of(1u32..4),
    );
    prop::collection::vec(one, 0..10).prop_map(|parts| {
        let sockets = parts
            .into_iter()
            .zip(1u64..)
            .map(|((address, port, uid, v6only, interface), id)| {
                let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
                let v6only = address.is_ipv6().then_some(v6only).flatten();
                Socket {
                    uid,
                    v6only,
                    interface,
                    address,
                    ..socket(id, "0.0.0.0:1")
                }
            });
        sockets.collect()
    })
}

fn opt_outs(selectors: &[String]) -> String {
    let mut selectors: Vec<String> = selectors
        .iter()
        .map(|text| config::Selector::parse(text).unwrap().to_string())
        .collect();
    selectors.sort();
    selectors.dedup();
    format!("opt-out = {selectors:?}\n")
}

/// What would be open: protocol, port, reach.
fn open(config: &str, sockets: &[Socket], surroundings: &Surroundings) -> Vec<String> {
    let ports = ports(config, sockets, surroundings);
    ports.into_iter().filter(|port| !port.contains(':')).collect()
}

proptest! {
    #[test]
    fn what_is_opted_out_is_never_shared(selectors in prop::collection::vec(selector_text(), 1..4), sockets in sockets()) {
        let policy = policy(&opt_outs(&selectors));
        for socket in &sockets {
            let labels = labels_of(socket, None);
            let matched = selectors.iter().any(|text| config::Selector::parse(text).unwrap().matches(&labels));
            let verdict = policy.decide(socket, &labels, &Declared::Known, &by_v4());

            prop_assert!(!(matched && verdict.is_expose()), "{:?}", socket);
            prop_assert_eq!(matched, matches!(verdict.decided_by(), Some(DecidedBy::OptOut { .. })));
        }
    }

    #[test]
    fn one_opt_out_more_never_shares_more(
        selectors in prop::collection::vec(selector_text(), 0..3),
        more in selector_text(),
        sockets in sockets(),
    ) {
        let before = open(&opt_outs(&selectors), &sockets, &by_v4());
        let after = open(&opt_outs(&[selectors, vec![more]].concat()), &sockets, &by_v4());

        prop_assert!(after.iter().all(|port| before.contains(port)), "{:?} after {:?}", after, before);
    }

    #[test]
    fn the_order_of_the_sockets_does_not_matter(sockets in sockets(), v6: bool) {
        let surroundings = if v6 { by_v6() } else { by_v4() };
        let reversed: Vec<Socket> = sockets.iter().rev().cloned().collect();

        prop_assert_eq!(ports("", &sockets, &surroundings), ports("", &reversed, &surroundings));
    }

    #[test]
    fn a_forward_leads_only_to_shared_sockets(
        selectors in prop::collection::vec(selector_text(), 0..3),
        sockets in sockets(),
        v6: bool,
    ) {
        let surroundings = if v6 { by_v6() } else { by_v4() };
        let policy = policy(&opt_outs(&selectors));
        let verdicts: Vec<Verdict> = sockets.iter().map(|socket| decide(&policy, socket, &surroundings)).collect();
        let decided: Vec<Decided<'_>> =
            sockets.iter().zip(&verdicts).map(|(socket, verdict)| Decided { socket, verdict }).collect();

        for port in wanted(&decided, &surroundings) {
            if let Outcome::Wanted(wanted) = &port.outcome {
                prop_assert_eq!(Some(&wanted.id), port.receivers.iter().min());
                for one in decided.iter().filter(|one| port.receivers.contains(&one.socket.id())) {
                    prop_assert!(one.verdict.is_expose(), "{:?}", one);
                }
            }
        }
    }
}
