//! What people read of the configuration, against the configuration: GUIDE.md and the installed config.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use wslnet_console::diagnose::Source;

use super::selector::CONTAINER_LABEL;
use super::{Key, Selector, parse};

const GUIDE: &str = include_str!("../../../GUIDE.md");
const INSTALLED: &str = include_str!("../../../systemd/config.toml");

/// The cells of the guide's table of labels, row by row: what a selector may name, and what that is.
fn table() -> impl Iterator<Item = (&'static str, &'static str)> {
    let from_there = GUIDE.lines().skip_while(|line| *line != "| label | what it is |");
    let rows = from_there.take_while(|line| line.starts_with('|'));
    rows.filter_map(|line| {
        let row = line.strip_prefix("| `")?.strip_suffix(" |")?;
        row.split_once("` | ")
    })
}

/// What stands between back quotes.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_guide_names_every_label() {
    let of_containers = format!("{CONTAINER_LABEL}KEY");
    let labels: BTreeSet<&str> = Key::NAMED
        .iter()
        .map(Key::name)
        .chain([of_containers.as_str()])
        .collect();

    let named: BTreeSet<&str> = table().flat_map(|(names, _)| names.split("`, `")).collect();

    assert_eq!(named, labels);
}

#[test]
fn the_selectors_in_the_guides_table_are_some() {
    let selectors: Vec<&str> = table()
        .flat_map(|(_, what)| codes(what))
        .filter(|code| code.contains('='))
        .collect();

    assert!(selectors.len() > 5, "{selectors:?}");
    for selector in selectors {
        let parsed = Selector::parse(selector);
        assert!(parsed.is_ok(), "{selector}: {parsed:?}");
    }
}

#[test]
fn every_opt_out_of_the_installed_config_has_its_reason() {
    let source = Source {
        name: "config.toml".to_owned(),
        text: INSTALLED.to_owned(),
    };
    let config = parse(vec![source]).unwrap_or_else(|report| panic!("{report}"));
    let lines: Vec<&str> = INSTALLED.lines().map(str::trim).collect();

    assert!(config.opt_out.len() > 30);
    for opted in config.opt_out {
        let (before, own) = lines.split_at(opted.place.line - 1);
        // A group begins after an empty line, or with the list, and with the reason of all that is in it.
        let group = before
            .iter()
            .rev()
            .take_while(|line| !line.is_empty() && !line.starts_with("opt-out"));
        let reason = group.last().is_some_and(|first| first.starts_with("# "));
        assert!(reason, "no reason: {own:?}", own = own.first());
        // And nobody knows ports by heart.
        let who = opted.text.contains("process=") || own.first().is_some_and(|line| line.contains("# "));
        assert!(who, "it does not say what that is: {own:?}", own = own.first());
    }
}
