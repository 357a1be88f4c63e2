//! The configuration of the daemon. A form feed, which no TOML may hold, stands between one file and the next.

use wslnet_console::diagnose::{Place, Source};
use wslnet_daemon::config::{CompanionAddress, Config, ListenPort, Selector, parse};
use wslnet_protocol::name;

use crate::printable::{assert_line, assert_reports};

pub(super) fn target(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let sources: Vec<Source> = text.split('\u{c}').enumerate().map(source).collect();
    let alone: Vec<_> = sources.iter().map(|source| parse(vec![source.clone()])).collect();

    match parse(sources.clone()) {
        Ok(config) => {
            assert_config(&config, &sources);
            assert_joined(&config, alone.into_iter().flatten().collect());
        }
        Err(reports) => {
            assert_reports(&reports);
            let bad = alone.iter().filter(|config| config.is_err()).count();
            assert_eq!(reports.each().len(), bad);
        }
    }
}

fn source((index, text): (usize, &str)) -> Source {
    Source {
        name: format!("{index}.toml"),
        text: text.to_owned(),
    }
}

fn assert_config(config: &Config, sources: &[Source]) {
    let opted_out = config
        .opt_out
        .iter()
        .map(|it| (&it.selector, &it.text, &it.place));
    let ruled = config.rules.iter().map(|it| (&it.when, &it.text, &it.place));
    for (selector, text, place) in opted_out.chain(ruled) {
        assert_eq!(Selector::parse(text).as_ref(), Ok(selector));
        assert_line(text);
        assert!(
            matches!(character_at(place, sources), Some('"' | '\'')),
            "{place}"
        );
    }
    for rule in &config.rules {
        assert!(rule.name.as_deref().is_none_or(|text| name::check(text).is_ok()));
        assert_ne!(rule.listen_port, ListenPort::Fixed(0));
        assert!(!rule.bridge || rule.when.ports().is_some());
    }
    if let CompanionAddress::Fixed(address) = config.companion {
        assert!(address.port() != 0 && !address.ip().is_unspecified());
    }
    if let Some(distro) = &config.distro {
        assert_line(distro);
        assert_eq!(distro.trim(), distro);
    }
    let interest = config.udp_interest();
    assert_eq!(interest.is_none(), !config.rules.iter().any(|rule| rule.udp));
}

/// What stands there, found without the source's own arithmetic.
fn character_at(place: &Place, sources: &[Source]) -> Option<char> {
    let source = sources.iter().find(|source| source.name == place.name)?;
    let line = source.text.split('\n').nth(place.line.checked_sub(1)?)?;
    line.chars().nth(place.column.checked_sub(1)?)
}

/// That several files say what each says, one after the other.
fn assert_joined(joined: &Config, alone: Vec<Config>) {
    let opted_out: Vec<_> = alone
        .iter()
        .flat_map(|config| &config.opt_out)
        .map(|it| &it.text)
        .collect();
    let rules: Vec<_> = alone
        .iter()
        .flat_map(|config| &config.rules)
        .map(|it| &it.text)
        .collect();
    assert_eq!(
        joined.opt_out.iter().map(|it| &it.text).collect::<Vec<_>>(),
        opted_out
    );
    assert_eq!(joined.rules.iter().map(|it| &it.text).collect::<Vec<_>>(), rules);
    let default = Config::default();
    let distro = alone.iter().rev().find_map(|config| config.distro.as_ref());
    assert_eq!(joined.distro.as_ref(), distro);
    let companion = alone.iter().rev().map(|config| config.companion);
    assert_eq!(
        joined.companion,
        companion
            .into_iter()
            .find(|it| *it != default.companion)
            .unwrap_or(default.companion)
    );
}
