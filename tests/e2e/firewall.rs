//! Windows Firewall on the development host, where a file stands for it: which rules there are and when, and what is said of those that
//! stand in the way. What the real one lets through cannot be seen here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bench::{Companion, Rig, SOON, World, check, eventually, web};

const PORTPROXY: &str = "backend = \"portproxy\"\n";

#[test]
fn rules_for_ports_follow_the_entries_of_portproxy_and_others_are_left_alone() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let firewall = Firewall::of(&rig.companion);
    firewall.plant(
        "[[rule]]\nname = \"wslnet relay (TCP)\"\ngrouping = \"wslnet\"\n\n[[rule]]\nname = \"theirs\"\n",
    );
    rig.companion.place.configure(PORTPROXY);
    rig.companion.start();
    rig.distro.start_connected();

    let first = web(&rig.distro.machine, 8000);
    let _second = web(&rig.distro.machine, 8001);
    rig.distro.until_state(8000, "active");
    rig.distro.until_state(8001, "active");
    firewall.until_ports(&["wslnet port tcp 8000", "wslnet port tcp 8001"]);
    let text = firewall.text();
    assert!(
        text.contains("service = \"iphlpsvc\"") && text.contains("remote_addresses = \"LocalSubnet\""),
        "{text}"
    );

    first.kill();
    firewall.until_ports(&["wslnet port tcp 8001"]);
    rig.companion.place.configure("");
    firewall.until_ports(&[]);
    rig.companion.place.configure(PORTPROXY);
    firewall.until_ports(&["wslnet port tcp 8001"]);

    rig.companion.stop();
    assert_eq!(firewall.ports(), BTreeSet::new());
    assert!(firewall.text().contains("wslnet relay (TCP)") && firewall.text().contains("theirs"));
}

#[test]
fn rules_that_a_killed_companion_left_go_with_the_next_start_or_with_purge() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let firewall = Firewall::of(&rig.companion);
    rig.companion.place.configure(PORTPROXY);
    rig.companion.start();
    rig.distro.start_connected();
    let server = web(&rig.distro.machine, 8000);
    firewall.until_ports(&["wslnet port tcp 8000"]);

    rig.companion.kill();
    rig.companion.place.configure("");
    rig.companion.start();
    assert_eq!(firewall.ports(), BTreeSet::new());

    rig.companion.place.configure(PORTPROXY);
    firewall.until_ports(&["wslnet port tcp 8000"]);
    rig.companion.kill();
    server.kill();
    let told = rig.companion.cli(&["purge"]).ok();
    assert!(
        told.contains("removed: firewall rule wslnet port tcp 8000"),
        "{told}"
    );
    assert_eq!(firewall.ports(), BTreeSet::new());
}

#[test]
fn a_rule_that_blocks_is_told_in_status_and_with_each_forward_until_it_is_gone() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let firewall = Firewall::of(&rig.companion);
    let on = format!("enabled = [\"private\", \"public\"]\n{}", allow());
    firewall.plant(&on);
    rig.companion.start();
    rig.distro.start_connected();
    let _web = web(&rig.distro.machine, 8000);
    rig.distro
        .until(SOON, 8000, |one| one["state"] == "active" && one["reason"] == "");
    assert_eq!(findings(&rig.companion), "[]");

    firewall.plant(&format!("{on}{}", rule("wslnet-companion.exe", false)));
    rig.distro.until(SOON * 2, 8000, |one| {
        let reason = one["reason"].as_str().unwrap_or_default();
        one["state"] == "active" && reason.contains("clients may be kept out") && reason.contains("wf.msc")
    });
    let text = rig.companion.cli(&["status"]).ok();
    assert!(
        text.contains("firewall: 1 rule(s) of Windows Firewall block this program"),
        "{text}"
    );

    firewall.plant(&on);
    rig.distro.until(SOON * 2, 8000, |one| one["reason"] == "");
}

#[test]
fn policies_missing_rules_and_a_firewall_that_hangs_are_told_with_what_helps() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let firewall = Firewall::of(&rig.companion);
    firewall.plant("enabled = [\"private\"]\n");
    rig.companion.start();
    until_found(
        &rig.companion,
        &[
            "lets clients of this program in over TCP",
            "wslnet-companion install",
        ],
    );

    firewall.plant(&format!(
        "enabled = [\"private\"]\nno-merge = [\"private\"]\n{}",
        allow()
    ));
    until_found(&rig.companion, &["group policy", "AllowLocalPolicyMerge"]);
    firewall.plant("service = \"stopped\"\n");
    until_found(&rig.companion, &["mpssvc"]);
    firewall.plant("answers = false\n");
    until_found(&rig.companion, &["does not answer"]);

    // And the forwards come all the same.
    rig.distro.start_connected();
    let _web = web(&rig.distro.machine, 8000);
    rig.distro.until_state(8000, "active");
}

#[test]
fn without_the_right_portproxy_works_and_says_that_its_ports_may_be_closed() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    Firewall::of(&rig.companion).plant("writable = false\n");
    rig.companion.place.configure(PORTPROXY);
    rig.companion.start();
    rig.distro.start_connected();

    let _web = web(&rig.distro.machine, 8000);
    rig.distro.until(SOON, 8000, |one| {
        let reason = one["reason"].as_str().unwrap_or_default();
        one["state"] == "active" && reason.contains("may not change the rules of Windows Firewall")
    });
}

/// The file that stands for Windows Firewall.
struct Firewall(PathBuf);

impl Firewall {
    fn of(companion: &Companion<'_>) -> Self {
        Self(Path::new(&companion.place.state).join("firewall-rules.toml"))
    }

    fn plant(&self, text: &str) {
        let beside = self.0.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, &self.0).unwrap();
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap_or_default()
    }

    /// The names of the rules for ports.
    fn ports(&self) -> BTreeSet<String> {
        let text = self.text();
        let names = text.lines().filter_map(|line| line.strip_prefix("name = \""));
        let names = names.map(|name| name.trim_end_matches('"').to_owned());
        names.filter(|name| name.starts_with("wslnet port ")).collect()
    }

    #[track_caller]
    fn until_ports(&self, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        eventually(SOON * 2, || {
            check(self.ports() == expected, || format!("{:?}", self.ports()))
        });
    }
}

/// A rule for this program, for all ports and networks.
fn rule(name: &str, allow: bool) -> String {
    let program = env!("CARGO_BIN_EXE_wslnet-companion");
    format!(
        "[[rule]]\nname = \"{name}\"\napplication = '{program}'\nprotocol = 256\nprofiles = 7\ninbound = true\n\
         allow = {allow}\nenabled = true\n"
    )
}

fn allow() -> String {
    rule("allows", true)
}

fn findings(companion: &Companion<'_>) -> String {
    let status: Value = companion.cli(&["status", "--json"]).json().unwrap();
    status["firewall"].to_string()
}

#[track_caller]
fn until_found(companion: &Companion<'_>, words: &[&str]) {
    eventually(SOON, || {
        let found = findings(companion);
        check(words.iter().all(|word| found.contains(word)), || found.clone())
    });
}
