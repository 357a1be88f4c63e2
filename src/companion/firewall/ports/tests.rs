//! Rules for ports, against the file that stands for Windows Firewall.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::firewall::GROUP;
use crate::host::{self, Category};

const FILE: &str = "firewall-rules.toml";

fn ports(list: &[u16]) -> Ports {
    list.iter().map(|port| (Protocol::Tcp, *port)).collect()
}

fn names(folder: &Path) -> Vec<String> {
    Store::new(folder)
        .ours()
        .unwrap()
        .into_iter()
        .map(|rule| rule.name)
        .collect()
}

fn edit(folder: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(folder.join(FILE)).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    std::fs::write(folder.join(FILE), text.replace(from, to)).unwrap();
}

#[tokio::test]
async fn each_port_has_a_rule_from_before_it_opens_until_after_it_closes() {
    let folder = tempfile::tempdir().unwrap();
    let mut rules = PortRules::new(folder.path());
    let now = host::awake();

    rules.open(&ports(&[8000, 8001]), now).await;
    assert_eq!(
        names(folder.path()),
        ["wslnet port tcp 8000", "wslnet port tcp 8001"]
    );
    rules.open(&ports(&[8001, 8002]), now).await;
    assert_eq!(names(folder.path()).len(), 3, "what closes still has its rule");
    rules.close(&ports(&[8001, 8002]), now).await;
    assert_eq!(
        names(folder.path()),
        ["wslnet port tcp 8001", "wslnet port tcp 8002"]
    );

    let rule = Store::new(folder.path()).ours().unwrap().remove(0);
    assert_eq!(
        (rule.service.as_str(), rule.application.as_str()),
        ("iphlpsvc", "")
    );
    assert_eq!(
        (rule.remote_addresses.as_str(), rule.profiles, rule.protocol),
        ("LocalSubnet", 3, 6)
    );
    rules.close(&Ports::new(), now).await;
    assert!(names(folder.path()).is_empty() && !Mark::new(folder.path(), MARK).is_set());
}

#[tokio::test]
async fn other_networks_make_the_rules_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut rules = PortRules::new(folder.path());
    rules.open(&ports(&[8000]), host::awake()).await;

    rules.set_networks([Category::Domain].into_iter().collect());
    rules.open(&ports(&[8000]), host::awake()).await;

    let there = Store::new(folder.path()).ours().unwrap();
    assert_eq!(there.iter().map(|rule| rule.profiles).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn what_a_crash_left_is_removed_at_the_next_start_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut rules = PortRules::new(folder.path());
    rules.open(&ports(&[8000, 8001]), host::awake()).await;
    edit(
        folder.path(),
        "[[rule]]\nname = \"wslnet port tcp 8000\"",
        &format!(
            "[[rule]]\nname = \"wslnet relay (TCP)\"\ngrouping = \"{GROUP}\"\n\n[[rule]]\nname = \"wslnet port tcp 8000\""
        ),
    );
    drop(rules);

    let cleared = clear_leftovers(folder.path());

    assert_eq!(cleared.removed.len(), 2, "{cleared:?}");
    assert_eq!(names(folder.path()), ["wslnet relay (TCP)"]);
    assert_eq!(clear_leftovers(folder.path()), Cleared::default());
}

#[test]
fn a_start_without_a_mark_does_not_ask_the_firewall() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), "answers = false\n").unwrap();

    assert_eq!(clear_leftovers(folder.path()), Cleared::default());
    assert!(clear_ports(folder.path()).left.is_some(), "a purge does");
}

#[tokio::test]
async fn a_failure_is_told_and_tried_again_after_a_while_or_for_another_set() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), "writable = false\n").unwrap();
    let mut rules = PortRules::new(folder.path());
    let now = host::awake();

    rules.open(&ports(&[8000]), now).await;
    assert_eq!(rules.trouble(), Some(&StoreError::Denied));
    edit(folder.path(), "writable = false", "writable = true");
    rules.open(&ports(&[8000]), now).await;
    assert!(names(folder.path()).is_empty(), "not at once");
    rules.open(&ports(&[8000]), now.checked_add(RETRY).unwrap()).await;

    assert_eq!(rules.trouble(), None);
    assert_eq!(names(folder.path()).len(), 1);
}

#[tokio::test]
async fn a_rule_that_somebody_took_away_comes_back_once_that_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let mut rules = PortRules::new(folder.path());
    let wanted = ports(&[8000, 8001]);
    rules.open(&wanted, host::awake()).await;
    Store::new(folder.path())
        .remove(&["wslnet port tcp 8000".to_owned()])
        .unwrap();

    rules.open(&wanted, host::awake()).await;
    assert_eq!(names(folder.path()).len(), 1, "nobody has looked");
    rules.compare(&Store::new(folder.path()).ours().unwrap());
    rules.open(&wanted, host::awake()).await;

    assert_eq!(names(folder.path()).len(), 2);
}
