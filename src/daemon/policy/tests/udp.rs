//! What UDP takes.

use super::*;

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
