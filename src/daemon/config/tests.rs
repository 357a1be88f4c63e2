//! Config files, right and wrong.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;

use proptest::prelude::*;
use wslnet_console::diagnose::Source;
use wslnet_protocol::Reach;

use super::selector::tests::selector;
use super::{CompanionAddress, Config, ConfigFiles, ListenPort, ModeOutsideWsl, parse};
use crate::listeners::{SourceChoice, UdpInterest};

fn source(text: &str) -> Source {
    Source {
        name: "/etc/wslnetd/config.toml".to_owned(),
        text: text.to_owned(),
    }
}

fn config(text: &str) -> Config {
    parse(vec![source(text)]).unwrap_or_else(|report| panic!("{report}"))
}

fn rendered(text: &str) -> String {
    parse(vec![source(text)])
        .err()
        .map(|report| report.to_string())
        .unwrap_or_default()
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(config(""), Config::default());
    assert_eq!(Config::default().reach, Reach::Lan);
    assert_eq!(
        Config::default().companion,
        CompanionAddress::Default { port: 9756 }
    );
}

#[test]
fn what_a_selector_is_quoted_as_is_safe_to_print() {
    let text = "opt-out = [\"process=a\\u001B2Jb\"]\n[[rule]]\nwhen = \"process=a\\u202Eb\"\n";

    let read = config(text);

    assert_eq!(read.opt_out[0].text, "process=a\u{fffd}2Jb");
    assert_eq!(read.rules[0].text, "process=a\u{fffd}b");
}

#[test]
fn every_key_is_read() {
    let read = config(concat!(
        "source = \"procfs\"\n",
        "network-mode = \"nat\"\n",
        "companion = \"172.20.0.1:9999\"\n",
        "opt-out = [\n",
        "  \"port=9229\",\n",
        "  \"process=node,port=3000-3999\",\n",
        "]\n",
        "[expose]\n",
        "reach = \"host\"\n",
    ));

    assert_eq!(read.source, SourceChoice::Procfs);
    assert_eq!(read.mode_outside_wsl, ModeOutsideWsl::Nat);
    assert_eq!(
        read.companion,
        CompanionAddress::Fixed("172.20.0.1:9999".parse().unwrap())
    );
    assert_eq!(read.reach, Reach::Host);
    assert_eq!(read.opt_out.len(), 2);
    assert_eq!(read.opt_out[1].selector, selector("process=node,port=3000-3999"));
    assert_eq!(read.opt_out[1].text, "process=node,port=3000-3999");
    assert_eq!(read.opt_out[1].place.to_string(), "/etc/wslnetd/config.toml:6:3");
}

#[test]
fn a_file_on_disk_is_read_and_its_name_is_in_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, "expose = 1\n").unwrap();

    let report = ConfigFiles::new(path.clone(), true)
        .read()
        .and_then(parse)
        .unwrap_err();

    assert!(
        report.to_string().contains(&format!("{}:1:10", path.display())),
        "{report}"
    );
}

#[test]
fn eight_mistakes_are_shown_at_once() {
    let text = concat!(
        "sorce = \"auto\"\n",
        "source = \"netlink\"\n",
        "network-mode = 1\n",
        "companion = \"172.20.0.1\"\n",
        "opt-out = [\n",
        "    \"port=9229\",  # the debugger of node\n",
        "    \"process=postgres,prot=5432\",\n",
        "    \"port=9000-99999\",\n",
        "    \" port = 9229 \",\n",
        "]\n",
        "\n",
        "[expose]\n",
        "reach = \"wan\"\n",
    );

    assert_eq!(rendered(text), include_str!("golden/eight-mistakes.txt"));
}

#[test]
fn every_key_of_a_rule_is_read() {
    let read = config(concat!(
        "[[rule]]\n",
        "when = \"process=node,port=5173\"\n",
        "expose = true\n",
        "reach = \"host\"\n",
        "listen-port = 8888\n",
        "name = \"shop\"\n",
        "loopback = \"bridge\"\n",
        "[[rule]]\n",
        "when = \"port=53\"\n",
        "udp = true\n",
        "listen-port = \"auto\"\n",
        "[[rule]]\n",
        "when = \"unit=nginx.service\"\n",
        "expose = false\n",
    ));

    let [shop, dns, nginx] = read.rules.as_slice() else {
        panic!("{read:?}")
    };
    assert_eq!(shop.when, selector("process=node,port=5173"));
    assert_eq!(shop.place.to_string(), "/etc/wslnetd/config.toml:2:8");
    assert_eq!((shop.expose, shop.reach), (Some(true), Some(Reach::Host)));
    assert_eq!(shop.listen_port, ListenPort::Fixed(8888));
    assert_eq!(
        (shop.name.as_deref(), shop.bridge, shop.udp),
        (Some("shop"), true, false)
    );
    assert_eq!(
        (dns.listen_port, dns.udp, dns.expose),
        (ListenPort::Auto, true, None)
    );
    assert_eq!((nginx.expose, nginx.listen_port), (Some(false), ListenPort::Same));
}

#[test]
fn the_mistakes_of_rules_are_shown_at_once() {
    let text = concat!(
        "[[rule]]\n",
        "name = \"shop\"\n",
        "\n",
        "[[rule]]\n",
        "when = \"process=node\"\n",
        "loopback = \"bridge\"\n",
        "name = \"Shop.wsl\"\n",
        "listen-port = 70000\n",
        "\n",
        "[[rule]]\n",
        "when = \"port=80,conteiner=web\"\n",
        "\n",
        "[[rule]]\n",
        "when = \"proto=udp\"\n",
        "listen-port = \"automatic\"\n",
        "\n",
        "[[rule]]\n",
        "when = \"port=81\"\n",
        "expose = false\n",
        "reach = \"lan\"\n",
        "proxy-protocol = true\n",
        "listen_port = 1\n",
    );

    assert_eq!(rendered(text), include_str!("golden/rules.txt"));
}

#[test]
fn drop_in_files_count_as_if_they_were_appended() {
    let file = |name: &str, text: &str| Source {
        name: name.to_owned(),
        text: text.to_owned(),
    };

    let read = parse(vec![
        file(
            "config.toml",
            "opt-out = [\"port=1\"]\ndistro = \"Old\"\n[expose]\nreach = \"host\"\n[[rule]]\nwhen = \"port=2\"\n",
        ),
        file("a.toml", "opt-out = [\"port=1\", \"port=3\"]\n[[rule]]\nwhen = \"port=4\"\n"),
        file("b.toml", "distro = \"New\"\n[expose]\nreach = \"lan\"\n"),
    ])
    .unwrap();

    let selectors = read.opt_out.iter().map(|opted| opted.place.to_string());
    assert_eq!(
        selectors.collect::<Vec<_>>(),
        ["config.toml:1:12", "a.toml:1:12", "a.toml:1:22"]
    );
    let rules = read.rules.iter().map(|rule| rule.place.to_string());
    assert_eq!(rules.collect::<Vec<_>>(), ["config.toml:6:8", "a.toml:3:8"]);
    assert_eq!((read.reach, read.distro.as_deref()), (Reach::Lan, Some("New")));
}

#[test]
fn the_mistakes_of_all_files_are_shown() {
    let file = |name: &str| Source {
        name: name.to_owned(),
        text: "opt-out = [\"port=0\"]\n".to_owned(),
    };

    let reports = parse(vec![file("config.toml"), file("a.toml")]).unwrap_err();

    assert_eq!(reports.each().len(), 2);
    assert!(
        reports.summary().ends_with("and there are errors in 1 more file"),
        "{reports}"
    );
}

#[test]
fn a_rule_that_another_one_leaves_nothing_for_is_a_mistake() {
    let two = |first: &str, second: &str| {
        let rules = format!(
            "[[rule]]\nwhen = \"port=80,uid=0\"\n{first}\n[[rule]]\nwhen = \"uid=0,port=80\"\n{second}\n"
        );
        rendered(&rules)
    };

    for (first, second) in [
        ("", ""),
        ("", "reach = \"host\""),
        ("udp = true", "expose = false"),
    ] {
        let report = two(first, second);
        assert!(
            report.contains("the rule never counts"),
            "{first} / {second}: {report}"
        );
        assert!(report.contains("join it with the rule of line 2"), "{report}");
    }
    assert_eq!(two("name = \"a\"", "udp = true"), "", "the second is about UDP");
}

#[test]
fn a_rule_that_keeps_udp_private_need_not_speak_of_it() {
    let config = config("[[rule]]\nwhen = \"proto=udp,port=53\"\nexpose = false\n");

    assert_eq!(config.rules[0].expose, Some(false));
    assert!(config.udp_interest().is_none());
}

#[test]
fn udp_is_looked_for_only_where_a_rule_could_share_it() {
    let interest = |text: &str| config(text).udp_interest();
    assert_eq!(interest("[[rule]]\nwhen = \"port=53\"\n"), UdpInterest::default());

    let named = interest(
        "[[rule]]\nwhen = \"port=53\"\nudp = true\n[[rule]]\nwhen = \"port=7000-7009,process=a\"\nudp = true\n",
    );
    assert_eq!((named.ports, named.servers), (vec![53..=53, 7000..=7009], false));
    let unnamed = interest("[[rule]]\nwhen = \"process=dnsmasq\"\nudp = true\n");
    assert_eq!((unnamed.ports, unnamed.servers), (vec![], true));
}

#[test]
fn two_hundred_rules_are_read_in_order() {
    let text = (1..=200)
        .map(|n| format!("[[rule]]\nwhen = \"port={n},container=web-{n}\"\nname = \"web-{n}\"\n"))
        .collect::<String>();

    let read = config(&text);

    assert_eq!(read.rules.len(), 200);
    assert_eq!(read.rules[199].name.as_deref(), Some("web-200"));
}

#[test]
fn an_escape_in_a_selector_points_at_the_whole_string() {
    let plain = rendered("opt-out = [\"process=a,prot=1\"]\n");
    let escaped = rendered("opt-out = [\"process=\\u0061,prot=1\"]\n");

    assert!(plain.contains("config.toml:1:23"), "{plain}");
    assert!(escaped.contains("config.toml:1:12"), "{escaped}");
}

#[test]
fn companion_addresses_that_lead_nowhere_are_refused() {
    for address in [
        "172.20.0.1:0",
        "0.0.0.0:9756",
        "[::]:9756",
        "224.0.0.1:9756",
        "172.20.0.1:65536",
        "host:9756",
    ] {
        let shown = rendered(&format!("companion = \"{address}\"\n"));

        assert!(shown.contains("config.toml:1:13"), "{address}: {shown}");
    }
    assert_eq!(rendered("companion = \"[fd00::1]:9756\"\n"), "");
}

#[test]
fn a_selector_that_is_no_string_hides_nothing() {
    let report = parse(vec![source("opt-out = [9229, \"port=0\"]\n")]).unwrap_err();

    assert_eq!(report.each()[0].problems().len(), 2, "{report}");
}

/// Text that is often nearly a config.
fn nearly_config() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("opt-out".to_owned()),
        Just("[expose]".to_owned()),
        Just("reach".to_owned()),
        Just("source".to_owned()),
        Just("companion".to_owned()),
        Just("\"port=1\"".to_owned()),
        Just("\"lan\"".to_owned()),
        Just("\n".to_owned()),
        "[\\[\\]=,\"' \n.{}]{1,3}",
        "[a-zé0-9]{1,4}",
    ];
    prop::collection::vec(word, 0..30).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_crashes_and_every_place_lies_within(text in prop_oneof![nearly_config(), any::<String>()]) {
        if let Err(reports) = parse(vec![source(&text)]) {
            let report = &reports.each()[0];
            prop_assert!(!report.is_empty());
            for problem in report.problems() {
                if let Some(span) = &problem.span {
                    prop_assert!(text.get(span.clone()).is_some(), "{:?}", problem);
                }
            }
            prop_assert!(report.to_string().starts_with("error: "));
        }
    }
}
