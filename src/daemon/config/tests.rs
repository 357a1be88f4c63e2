//! Config files, right and wrong.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;

use proptest::prelude::*;
use wslnet_console::diagnose::Source;
use wslnet_protocol::Reach;

use super::selector::tests::selector;
use super::{CompanionAddress, Config, ModeOutsideWsl, load, parse};
use crate::listeners::SourceChoice;

fn source(text: &str) -> Source {
    Source {
        name: "/etc/wslnetd/config.toml".to_owned(),
        text: text.to_owned(),
    }
}

fn config(text: &str) -> Config {
    parse(source(text)).unwrap_or_else(|report| panic!("{report}"))
}

fn rendered(text: &str) -> String {
    parse(source(text))
        .err()
        .map(|report| report.to_string())
        .unwrap_or_default()
}

#[test]
fn a_missing_file_is_told_apart_and_an_empty_one_means_the_defaults() {
    let dir = tempfile::tempdir().unwrap();

    assert_eq!(load(&dir.path().join("config.toml")), Ok(None));
    assert_eq!(config(""), Config::default());
    assert_eq!(Config::default().reach, Reach::Lan);
    assert_eq!(
        Config::default().companion,
        CompanionAddress::DefaultGateway { port: 9756 }
    );
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

    let report = load(&path).unwrap_err();

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
fn the_distro_name_is_no_key() {
    assert!(rendered("distro = \"ubuntu\"\n").contains("unknown key `distro`"));
}

#[test]
fn a_selector_that_is_no_string_hides_nothing() {
    let report = parse(source("opt-out = [9229, \"port=0\"]\n")).unwrap_err();

    assert_eq!(report.problems().len(), 2, "{report}");
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
        if let Err(report) = parse(source(&text)) {
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
