//! `companion.toml`.

use wslnet_companion::config::{Config, NamePattern};
use wslnet_console::diagnose::Source;
use wslnet_protocol::{Protocol, limits};

use crate::printable::assert_report;

pub(super) fn target(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let source = Source {
        name: "companion.toml".to_owned(),
        text: text.to_owned(),
    };
    match Config::parse(source) {
        Ok(config) => assert_config(&config),
        Err(report) => assert_report(&report),
    }
    patterns(text);
}

fn assert_config(config: &Config) {
    assert!((1..=limits::FORWARDS_IN_SET).contains(&config.max_forwards));
    if let Some(listen) = config.listen {
        let ip = listen.ip().to_canonical();
        assert!(listen.port() != 0 && !ip.is_unspecified() && !ip.is_multicast());
    }
    // Windows' own, whatever the file says.
    for (protocol, port) in [
        (Protocol::Tcp, 445),
        (Protocol::Tcp, 3389),
        (Protocol::Udp, 53),
        (Protocol::Udp, 137),
    ] {
        assert!(
            config.policy.refusal(protocol, port).is_some(),
            "{protocol} {port}"
        );
    }
}

/// Patterns of names of interfaces: the first line is one, the second a name.
fn patterns(text: &str) {
    let Some((pattern, name)) = text.split_once('\n') else {
        return;
    };
    // The naive reading takes time that grows with the product of both.
    if pattern.len() > 64 || name.len() > 64 {
        return;
    }
    let lower = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    assert_eq!(
        NamePattern::new(pattern).matches(name),
        fits(&lower(pattern), &lower(name))
    );
}

/// Whether a pattern fits, by trying every length for every star.
fn fits(pattern: &[char], name: &[char]) -> bool {
    // `row[at]`: whether what was seen of the pattern fits the first `at` characters.
    let mut row: Vec<bool> = (0..=name.len()).map(|at| at == 0).collect();
    for wanted in pattern {
        let mut next = vec![false; row.len()];
        for at in 0..row.len() {
            next[at] = match wanted {
                '*' => row[..=at].contains(&true),
                wanted => at > 0 && row[at - 1] && name[at - 1] == *wanted,
            };
        }
        row = next;
    }
    row.ends_with(&[true])
}
