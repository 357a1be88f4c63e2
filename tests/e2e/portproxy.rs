//! `backend = "portproxy"` on the development host, where a file stands for Windows' registry: which entries there are, and
//! when. That traffic flows through them shows under Wine only, in `wine/portproxy.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bench::{Companion, Rig, SOON, WINDOWS, World, check, eventually, udp_echo, web};

const ON: &str = "backend = \"portproxy\"\n";
/// Entries of somebody else.
const FOREIGN: &str = "[v4tov4]\n\"*/2222\" = \"172.28.0.2/22\"\n\"192.168.50.1/9000\" = \"172.28.0.2/9000\"\n\n\
                       [v6tov4]\n\"fd00:50::1/9000\" = \"10.0.0.1/1\"\n";

#[test]
fn entries_follow_the_listener_and_the_addresses_and_are_gone_at_the_end() {
    let world = World::new();
    let mut rig = started(&world, ON);
    let registry = Registry::of(&rig.companion);

    let server = web(&rig.distro.machine, 8000);
    let state = rig.distro.until_state(8000, "active");
    assert_eq!(
        state["windows"],
        serde_json::json!(["192.168.50.1:8000", "[fd00:50::1]:8000"])
    );
    let here = [
        "v4tov4 192.168.50.1/8000 = 172.28.0.2/8000",
        "v6tov4 fd00:50::1/8000 = 172.28.0.2/8000",
    ];
    assert_eq!(registry.ours(), set(&here));
    assert!(
        rig.client.open_among(WINDOWS, &[8000]).is_empty(),
        "the companion itself listens"
    );

    world.windows.net.ip("addr add 192.168.50.9/24 dev vlan0");
    let there = "v4tov4 192.168.50.9/8000 = 172.28.0.2/8000";
    registry.until_ours(&[here[0], here[1], there]);
    world.windows.net.ip("addr del 192.168.50.9/24 dev vlan0");
    registry.until_ours(&here);

    server.kill();
    registry.until_ours(&[]);
    let _again = web(&rig.distro.machine, 8001);
    rig.distro.until_state(8001, "active");
    rig.companion.stop();
    assert_eq!(registry.ours(), set(&[]));
    assert_eq!(registry.foreign(), foreign());
}

#[test]
fn the_lease_untrust_and_the_policy_take_entries_away() {
    let world = World::new();
    let mut rig = started(&world, ON);
    let registry = Registry::of(&rig.companion);
    let _web = web(&rig.distro.machine, 8000);
    rig.distro.until_state(8000, "active");

    rig.companion
        .place
        .configure(&format!("{ON}ports = [\"9000\"]\n"));
    registry.until_ours(&[]);
    rig.companion.place.configure(ON);
    rig.distro.until_state(8000, "active");

    rig.distro.kill();
    registry.until_ours(&[]);
    rig.distro.start_connected();
    rig.distro.until_state(8000, "active");
    assert_eq!(registry.ours().len(), 2);

    rig.companion.cli(&["untrust", "ubuntu"]).ok();
    registry.until_ours(&[]);
}

#[test]
fn a_killed_companion_leaves_nothing_for_longer_than_its_next_start() {
    let world = World::new();
    let mut rig = started(&world, ON);
    let registry = Registry::of(&rig.companion);
    let server = web(&rig.distro.machine, 8000);
    rig.distro.until_state(8000, "active");
    rig.companion.kill();
    assert_eq!(registry.ours().len(), 2, "Windows keeps what is in the registry");
    server.kill();

    // Whatever the backend is now.
    rig.companion.place.configure("");
    rig.companion.start();

    registry.until_ours(&[]);
    assert_eq!(registry.foreign(), foreign());
}

#[test]
fn purge_removes_what_is_ours_and_wants_the_program_to_be_stopped() {
    let world = World::new();
    let mut rig = started(&world, ON);
    let registry = Registry::of(&rig.companion);
    let _web = web(&rig.distro.machine, 8000);
    rig.distro.until_state(8000, "active");

    let refused = rig.companion.cli(&["purge"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("stop it first"),
        "{refused:?}"
    );
    rig.companion.kill();
    let told = rig.companion.cli(&["purge"]).ok();

    assert!(
        told.contains("removed: v4tov4 192.168.50.1/8000 -> 172.28.0.2/8000"),
        "{told}"
    );
    assert_eq!(registry.ours(), set(&[]));
    assert_eq!(registry.foreign(), foreign());
    let again = rig.companion.cli(&["purge"]).ok();
    assert!(again.contains("nothing to remove"), "{again}");
}

#[test]
fn the_backend_changes_while_the_program_runs() {
    let world = World::new();
    let rig = started(&world, "");
    let registry = Registry::of(&rig.companion);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.companion.place.configure(ON);
    registry.until_ours(&[
        "v4tov4 192.168.50.1/8000 = 172.28.0.2/8000",
        "v6tov4 fd00:50::1/8000 = 172.28.0.2/8000",
    ]);
    rig.client.until_closed(SOON, WINDOWS, 8000);
    assert_eq!(status(&rig.companion)["backend"], "portproxy");

    rig.companion.place.configure("");
    rig.client.until_open(SOON, WINDOWS, 8000);
    assert_eq!(registry.ours(), set(&[]));
    assert_eq!(status(&rig.companion)["backend"], "relay");
}

#[test]
fn what_portproxy_cannot_do_is_said() {
    let world = World::new();
    let rig = started(&world, ON);
    rig.distro
        .reconfigure("[[rule]]\nwhen = \"port=5000\"\nudp = true\n");

    let _udp = udp_echo(&rig.distro.machine, "echo", 5000);
    let udp = rig.distro.until_state(5000, "denied");
    assert!(says(&udp, "carries no UDP"), "{udp}");
    let _taken = web(&rig.distro.machine, 9000);
    let taken = rig.distro.until_state(9000, "conflict");
    assert!(says(&taken, "192.168.50.1/9000 -> 172.28.0.2/9000"), "{taken}");

    let registry = Registry::of(&rig.companion);
    registry.plant(&format!("writable = false\n{}", registry.text()));
    let _web = web(&rig.distro.machine, 8000);
    let denied = rig.distro.until_state(8000, "denied");
    assert!(says(&denied, "administrator"), "{denied}");
    let capability = status(&rig.companion)["capability"].to_string();
    assert!(capability.contains("administrator"), "{capability}");
}

/// The file that stands for the registry, with somebody's entries.
struct Registry(PathBuf);

impl Registry {
    fn of(companion: &Companion<'_>) -> Self {
        Self(Path::new(&companion.place.state).join("portproxy-registry.toml"))
    }

    fn text(&self) -> String {
        let text = std::fs::read_to_string(&self.0).unwrap();
        // The keys that are written again.
        text.lines()
            .filter(|line| !line.starts_with("writable"))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    fn plant(&self, text: &str) {
        let beside = self.0.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, &self.0).unwrap();
    }

    fn entries(&self) -> BTreeSet<String> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        let mut table = String::new();
        let mut entries = BTreeSet::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[') {
                table = name.trim_end_matches(']').to_owned();
            } else if !table.is_empty() && !line.is_empty() {
                entries.insert(format!("{table} {}", line.replace('"', "")));
            }
        }
        entries
    }

    fn ours(&self) -> BTreeSet<String> {
        &self.entries() - &foreign()
    }

    fn foreign(&self) -> BTreeSet<String> {
        &self.entries() & &foreign()
    }

    #[track_caller]
    fn until_ours(&self, expected: &[&str]) {
        eventually(SOON, || {
            check(self.ours() == set(expected), || format!("{:?}", self.ours()))
        });
    }
}

fn foreign() -> BTreeSet<String> {
    set(&[
        "v4tov4 */2222 = 172.28.0.2/22",
        "v4tov4 192.168.50.1/9000 = 172.28.0.2/9000",
        "v6tov4 fd00:50::1/9000 = 10.0.0.1/1",
    ])
}

/// The usual case, with a configuration of the companion and somebody's entries in the registry.
fn started<'w>(world: &'w World, config: &str) -> Rig<'w> {
    let mut rig = Rig::new(world);
    rig.companion.place.configure(config);
    std::fs::write(&Registry::of(&rig.companion).0, FOREIGN).unwrap();
    rig.companion.start();
    rig.distro.start_connected();
    rig
}

fn status(companion: &Companion<'_>) -> Value {
    companion.cli(&["status", "--json"]).json().unwrap()
}

fn says(listener: &Value, text: &str) -> bool {
    listener["reason"].as_str().unwrap_or_default().contains(text)
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
