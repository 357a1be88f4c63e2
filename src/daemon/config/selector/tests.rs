//! Selectors against a naive model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Facts, Key, Selector, SelectorError, term_for};
use crate::labels::{Label, Labels, value};

/// The labels of a listener, written down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(BTreeMap<String, Vec<String>>);

impl Facts for Known {
    fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }
}

/// Labels from `key=value` words.
pub(crate) fn known(words: &str) -> Known {
    let mut known = Known::default();
    for (key, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
        known.0.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    known
}

/// A selector that must be right.
pub(crate) fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

fn mistakes(text: &str) -> Vec<SelectorError> {
    Selector::parse(text).err().unwrap_or_default()
}

/// `offending text: message (hint)` of the only mistake.
fn mistake(text: &str) -> String {
    let errors = mistakes(text);
    assert_eq!(errors.len(), 1, "{text}: {errors:?}");
    format!(
        "{}: {} ({})",
        &text[errors[0].span.clone()],
        errors[0].message,
        errors[0].hint
    )
}

#[test]
fn a_comma_means_and() {
    let both = selector("process=node,port=3000-3999");

    assert!(both.matches(&known("process=node port=3000")));
    assert!(both.matches(&known("process=node port=3999")));
    assert!(!both.matches(&known("process=node port=4000")));
    assert!(!both.matches(&known("process=ruby port=3000")));
    assert!(!both.matches(&known("port=3000")));
}

#[test]
fn one_of_several_values_is_enough() {
    let node = selector("process=node");

    assert!(node.matches(&known("process=npm process=node")));
    assert!(!node.matches(&known("process=npm process=Node")));
}

#[test]
fn an_unequal_sign_holds_where_no_value_matches() {
    let not_node = selector("process!=node");

    assert!(not_node.matches(&known("process=npm")));
    assert!(not_node.matches(&known("port=1")));
    assert!(!not_node.matches(&known("process=npm process=node")));
    let others = selector("port!=80,port!=8000-8999,process=node");
    assert!(others.matches(&known("process=node port=9000")));
    assert!(!others.matches(&known("process=node port=80")));
    assert!(!others.matches(&known("process=node port=8500")));
    assert!(!others.matches(&known("process=ruby port=9000")));
}

#[test]
fn values_may_hold_the_wildcards_of_a_shell() {
    for (text, matched, other) in [
        ("process=py*", "process=python3", "process=ruby"),
        ("process=nod?", "process=node", "process=nodes"),
        (
            "exe=/opt/*/bin/node",
            "exe=/opt/a/b/bin/node",
            "exe=/usr/bin/node",
        ),
        ("exe=/opt/**", "exe=/opt/a/b/node", "exe=/usr/bin/node"),
        ("container=web-[0-9]", "container=web-3", "container=web-x"),
        ("container=web-[!0-9]", "container=web-x", "container=web-3"),
        ("container=*", "container=any", "process=any"),
        ("bind=172.20.*", "bind=172.20.0.2", "bind=wildcard"),
        ("user=dev[*]", "user=dev*", "user=dev1"),
        ("unit!=*.socket", "unit=a.service", "unit=a.socket"),
        (
            "container.label.com.example/team=web*",
            "container.label.com.example/team=web-a",
            "container.label.team=web",
        ),
        ("wslnetd=name[=]*", "wslnetd=name=shop", "wslnetd=off"),
    ] {
        let wanted = selector(text);

        assert!(wanted.matches(&known(matched)), "{text} and {matched}");
        assert!(!wanted.matches(&known(other)), "{text} and {other}");
    }
}

#[test]
fn a_comma_in_brackets_separates_nothing() {
    let wanted = selector("process=a[,]b,port=1");

    assert_eq!(wanted.terms().len(), 2);
    assert!(wanted.matches(&known("process=a,b port=1")));
    let closing = selector("process=[]],port=1");
    assert!(closing.matches(&known("process=] port=1")));
}

#[test]
fn a_selector_tells_which_ports_and_which_protocol_it_is_about() {
    assert_eq!(selector("port=3000-3999,process=node").ports(), Some(3000..=3999));
    assert_eq!(selector("port!=3000").ports(), None);
    assert_eq!(selector("proto=udp").protocol(), Some("udp"));
    assert_eq!(selector("proto!=udp").protocol(), None);
}

#[test]
fn a_bracket_in_the_key_of_a_container_would_swallow_what_follows_and_is_refused() {
    for text in [
        "container.label.a[=1",
        "container.label.b=x],container.label.a[=1",
    ] {
        assert_eq!(mistakes(text).len(), 1, "{text}");
    }
}

#[test]
fn the_key_of_a_container_is_safe_to_print_and_names_what_the_label_is_called() {
    let wanted = selector("container.label.a\u{9b}2Jb=web");

    assert_eq!(wanted.to_string(), "container.label.a\u{fffd}2Jb=web");
    assert!(wanted.matches(&known("container.label.a\u{fffd}2Jb=web")));
}

#[test]
fn a_label_that_no_term_can_say_has_none() {
    let long = "[".repeat(3000);
    for (key, value) in [
        ("user", "1000"),
        ("unit", "nginx"),
        ("exe", "node"),
        ("group", &long),
    ] {
        let label = Label {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
        };

        assert_eq!(term_for(&label), None, "{key}");
    }
}

#[test]
fn blanks_around_parts_mean_nothing() {
    assert_eq!(
        selector(" process = node , port = 1 - 9 "),
        selector("port=1-9,process=node")
    );
}

#[test]
fn an_address_matches_however_it_is_written() {
    let bound = selector("bind=FE80:0::1");

    assert!(bound.matches(&known("bind=fe80::1")));
    assert!(selector("bind=::ffff:172.20.0.2").matches(&known("bind=172.20.0.2")));
    assert!(selector("bind=wildcard").matches(&known("bind=wildcard")));
}

#[test]
fn each_mistake_says_what_is_wrong_where_and_what_to_do() {
    let port_hint = "from 1 to 65535, or a range of them, such as \"port=3000-3999\"";
    for (text, expected) in [
        ("", ": the selector is empty (write labels, such as \"process=node,port=3000\")".to_owned()),
        ("port=1,,user=a", ": nothing stands between the commas (remove a comma)".to_owned()),
        ("port=1,", ": nothing stands between the commas (remove a comma)".to_owned()),
        ("port=1,node", "node: `node` is no label (write key=value, such as \"port=3000\")".to_owned()),
        ("prot=1", "prot: unknown label `prot` (did you mean `port`?)".to_owned()),
        (
            "colour=x",
            "colour: unknown label `colour` (known labels: port, proto, bind, family, interface, process, exe, unit, slice, \
             user, uid, group, container, image, compose.project, compose.service, wslnetd, distro, container.label.KEY)"
                .to_owned(),
        ),
        (
            "container.label.=x",
            "container.label.: unknown label `container.label.` (write the key of a container's label as in \
             \"container.label.team=web\")"
                .to_owned(),
        ),
        ("user=", "user=: `user` has no value (user=www-data)".to_owned()),
        ("port=0", format!("0: port `0` is out of range ({port_hint})")),
        ("port=70000", format!("70000: port `70000` is out of range ({port_hint})")),
        ("port=1-70000", format!("70000: port `70000` is out of range ({port_hint})")),
        ("port=http", format!("http: `http` is no number of `port` ({port_hint})")),
        ("port=1-", format!("1-: `1-` is no number of `port` ({port_hint})")),
        ("port=+1", format!("+1: `+1` is no number of `port` ({port_hint})")),
        ("port=9-1", "9-1: the range `9-1` runs backwards (write \"port=1-9\")".to_owned()),
        ("proto=TCP", "TCP: `TCP` is no value of `proto` (did you mean `tcp`?)".to_owned()),
        ("proto=sctp", "sctp: `sctp` is no value of `proto` (allowed: tcp, udp)".to_owned()),
        ("family=v4", "v4: `v4` is no value of `family` (allowed: ipv4, ipv6)".to_owned()),
        ("unit=nginx", "nginx: `nginx` is no whole name of a unit (write \"unit=nginx.service\")".to_owned()),
        ("slice=user", "user: `user` is no whole name of a slice (write \"slice=user.slice\")".to_owned()),
        (
            "exe=/usr/bin/[",
            "/usr/bin/[: `/usr/bin/[` is no pattern: invalid range pattern (write [[] where the character itself is meant)"
                .to_owned(),
        ),
        (
            "process=a**",
            "a**: `a**` is no pattern: recursive wildcards must form a single path component (write [*] where the character itself is meant)"
                .to_owned(),
        ),
        ("port!=0", format!("0: port `0` is out of range ({port_hint})")),
        ("!=1", "!=1: unknown label `` (known labels: port, proto, bind, family, interface, process, exe, unit, slice, \
             user, uid, group, container, image, compose.project, compose.service, wslnetd, distro, container.label.KEY)"
                .to_owned()),
        ("bind=all", "all: `all` is no value of `bind` (allowed: wildcard, loopback, or an IP address)".to_owned()),
        ("bind=0.0.0.0", "0.0.0.0: `0.0.0.0` has a name here (write \"bind=wildcard\")".to_owned()),
        ("bind=::1", "::1: `::1` has a name here (write \"bind=loopback\")".to_owned()),
        (
            "process=gnome-remote-desktop",
            "gnome-remote-desktop: no process is called `gnome-remote-desktop`: the kernel keeps 15 bytes of a name (write \"process=gnome-remote-de\")".to_owned(),
        ),
        (
            "exe=node",
            "node: `node` is no whole path (write the path from the root, such as \"exe=/usr/bin/node\", or \"process=node\")".to_owned(),
        ),
        (
            "exe=/srv/a (deleted)",
            "/srv/a (deleted): ` (deleted)` is what the kernel says of a file that is gone, and not looked at here (write \"exe=/srv/a\")".to_owned(),
        ),
        ("user=1000", "1000: `1000` is a number, not the name of a user (write \"uid=1000\")".to_owned()),
        (
            "port=1,port=2",
            "port: `port` is given twice, and both must hold (write two selectors if either is meant)".to_owned(),
        ),
    ] {
        assert_eq!(mistake(text), expected, "{text}");
    }
}

#[test]
fn every_path_and_name_that_a_process_can_have_is_matched() {
    let long = format!("/opt/{}/x", "deep/".repeat(810));
    for (key, real) in [
        ("exe", long.as_bytes()),
        ("exe", b"/tmp/a\x1b]2J\tb"),
        ("exe", "/tmp/a\u{202e}b".as_bytes()),
        ("process", "x\u{7f}y\n z".as_bytes()),
        // The kernel cut this name through its last character.
        ("process", &"fourteen-bytesé".as_bytes()[..15]),
        ("user", "ann\u{9b}".as_bytes()),
    ] {
        let labels = Labels::from_iter([(key, value(real))]);
        let text = format!("{key}={}", String::from_utf8_lossy(real));

        assert!(selector(&text).matches(&labels), "{text:?}");
    }
}

#[test]
fn the_advice_for_a_long_name_is_what_the_kernel_makes_of_it() {
    for name in ["fourteen-bytesé", "fourteen-bytes日本", "gnome-remote-desktop"] {
        let kept = value(&name.as_bytes()[..15]);
        let labels = Labels::from_iter([("process", kept.as_str())]);

        assert!(mistake(&format!("process={name}")).ends_with(&format!("(write \"process={kept}\")")));
        assert!(selector(&format!("process={kept}")).matches(&labels));
    }
}

#[test]
fn all_mistakes_of_a_selector_are_found() {
    let errors = mistakes("port=0, usr=a,,bind=all");

    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors.is_sorted_by_key(|error| error.span.start));
}

/// One value for each key, as a config might write it.
fn term() -> impl Strategy<Value = (Key, String)> {
    let range = |low: u32, high: u32| {
        (low..=high, low..=high).prop_map(|(a, b)| {
            if a == b {
                a.to_string()
            } else {
                format!("{}-{}", a.min(b), a.max(b))
            }
        })
    };
    prop_oneof![
        range(1, 6).prop_map(|value| (Key::Port, value)),
        range(0, 4).prop_map(|value| (Key::Uid, value)),
        Just((Key::Proto, "tcp".to_owned())),
        prop_oneof![Just("wildcard"), Just("loopback"), Just("10.0.0.1")]
            .prop_map(|value| (Key::Bind, value.to_owned())),
        "[ab é=]{0,4}[ab]".prop_map(|value| (Key::Process, value.trim().to_owned())),
        "/[ab]{0,2}".prop_map(|value| (Key::Exe, value)),
        "[ab]{1,2}".prop_map(|value| (Key::User, value)),
    ]
}

fn terms() -> impl Strategy<Value = Vec<(Key, String)>> {
    prop::collection::vec(term(), 1..5).prop_map(|terms| {
        let mut keys = Vec::new();
        terms
            .into_iter()
            .filter(|(key, _)| {
                !keys.contains(key) && {
                    keys.push(key.clone());
                    true
                }
            })
            .collect()
    })
}

/// A selector and its text.
pub(crate) fn selector_text() -> impl Strategy<Value = String> {
    terms().prop_map(|terms| {
        let words: Vec<String> = terms
            .iter()
            .map(|(key, value)| format!("{}={value}", key.name()))
            .collect();
        words.join(",")
    })
}

/// The labels of some listener, drawn from the same small worlds.
pub(crate) fn facts() -> impl Strategy<Value = Known> {
    let port = (1u32..7).prop_map(|port| format!("port={port}"));
    let uid = (0u32..5).prop_map(|uid| format!("uid={uid}"));
    let bind = prop_oneof![
        Just("bind=wildcard"),
        Just("bind=loopback"),
        Just("bind=10.0.0.1")
    ];
    let processes = prop::collection::vec("process=[ab]{1,2}", 0..3);
    let others = prop::collection::vec(prop_oneof!["user=[ab]{1,2}", "exe=/[ab]{0,2}"], 0..3);
    (port, uid, bind, processes, others).prop_map(|(port, uid, bind, processes, others)| {
        known(&format!(
            "proto=tcp {port} {uid} {bind} {} {}",
            processes.join(" "),
            others.join(" ")
        ))
    })
}

/// What the config means, said as simply as possible.
fn model(terms: &[(Key, String)], facts: &Known) -> bool {
    terms.iter().all(|(key, wanted)| {
        let numeric = matches!(key, Key::Port | Key::Uid);
        facts
            .0
            .get(key.name())
            .into_iter()
            .flatten()
            .any(|value| match wanted.split_once('-') {
                Some((low, high)) if numeric => {
                    let parse = |text: &str| text.parse::<u32>().ok();
                    (parse(low)..=parse(high)).contains(&parse(value))
                }
                _ => value == wanted,
            })
    })
}

proptest! {
    #[test]
    fn printing_and_reading_gives_the_same(text in selector_text()) {
        let first = selector(&text);

        prop_assert_eq!(selector(&first.to_string()), first);
    }

    #[test]
    fn the_term_for_a_label_selects_it(
        key in prop_oneof![
            Just("process"), Just("exe"), Just("container"), Just("container.label.a,b=c"), Just("user"), Just("unit"),
        ],
        text in prop_oneof!["[ab ,*?!\\[\\]=\"\\\\-]{1,12}", any::<String>()],
        other in "[ab ,*?!\\[\\]=-]{1,12}",
    ) {
        let text = value(text);
        let label = Label { key: key.to_owned().into(), value: text.clone().into() };
        if let Some(term) = term_for(&label) {
            prop_assert!(!key.contains(','), "no selector can name this key");
            let wanted = selector(&term);
            prop_assert!(wanted.matches(&Labels::from_iter([(key, text.as_str())])), "{}", term);
            prop_assert_eq!(text == other, wanted.matches(&Labels::from_iter([(key, other.as_str())])), "{}", term);
        }
    }

    #[test]
    fn no_text_crashes_and_every_mistake_lies_within(text in any::<String>()) {
        for error in mistakes(&text) {
            prop_assert!(text.get(error.span.clone()).is_some(), "{:?}", error);
        }
    }

    #[test]
    fn near_misses_do_not_crash_either(text in "[portuidn=!,\\[\\]*\\- 0-9é]{0,24}") {
        for error in mistakes(&text) {
            prop_assert!(text.get(error.span.clone()).is_some(), "{:?}", error);
        }
    }

    #[test]
    fn matching_is_what_the_model_says(terms in terms(), facts in facts()) {
        let text: Vec<String> = terms.iter().map(|(key, value)| format!("{}={value}", key.name())).collect();

        prop_assert_eq!(selector(&text.join(",")).matches(&facts), model(&terms, &facts));
    }
}
