//! `wslnetd doctor`: each break of the chain is found, named and given its way out; a whole chain is good.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::bench::{Companion, Distro, Ran, Rig, World, web};

/// What it finds of one check: levels, texts and fixes.
fn found(ran: &Ran, check: &str) -> Vec<(String, String, String)> {
    let rows: Vec<Value> =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    rows.iter()
        .filter(|row| row["check"] == check)
        .map(|row| (text(row, "level"), text(row, "text"), text(row, "fix")))
        .collect()
}

/// Expects the last finding about the companion to fail with these words in its text and its fix.
#[track_caller]
fn fails(distro: &Distro, word: &str, fix: &str) {
    let ran = distro.cli(&["doctor", "--json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let found = found(&ran, "companion");
    let (level, text, way_out) = found.last().expect("a finding");
    assert!(
        level == "fail" && text.contains(word) && way_out.contains(fix),
        "{found:?}"
    );
}

#[test]
fn refusal_silence_and_no_way_are_told_apart_with_their_fixes() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    fails(&rig.distro, "refuses connections", "start wslnet-companion");

    rig.companion.start();
    // What a firewall that drops looks like from here: no answer ever comes back.
    world.windows.net.ip("route add blackhole 172.28.0.2/32");
    fails(&rig.distro, "does not answer", "wslnet-companion install");
    fails(
        &rig.distro,
        "does not answer",
        "`wslnet-companion install` on Windows",
    );
    world.windows.net.ip("route del blackhole 172.28.0.2/32");

    world.vm.ip("route add unreachable 172.28.0.1/32");
    fails(&rig.distro, "cannot be reached", "ip route get");
    world.vm.ip("route del unreachable 172.28.0.1/32");

    world.vm.ip("route del default");
    fails(&rig.distro, "no default route", "ip route");
    world.vm.ip("route add default via 172.28.0.1");

    let good = rig.distro.cli(&["doctor", "--json"]);
    let levels: Vec<_> = found(&good, "companion")
        .into_iter()
        .map(|(level, ..)| level)
        .collect();
    assert_eq!(levels, ["ok", "ok"], "{good:?}");
}

#[test]
fn a_key_that_one_side_does_not_trust_is_told_with_the_side() {
    let world = World::new();
    let mut companion = Companion::new(&world);
    companion.start();
    let distro = Distro::new(&world, "ubuntu");
    fails(&distro, "no key yet", "sudo wslnetd pair");
    distro.key();
    fails(&distro, "no companion is trusted here", "sudo wslnetd pair");
    distro.cli(&["trust", &companion.key()]).ok();
    fails(&distro, "does not trust this distro's key", "sudo wslnetd pair");

    companion.trust("ubuntu", &distro.key());
    let other = Distro::new(&world, "other").key();
    distro.cli(&["unpair"]).ok();
    distro.cli(&["trust", &other]).ok();
    fails(&distro, "another key than the companion", "sudo wslnetd pair");
}

#[test]
fn it_disturbs_no_session_and_an_ordinary_user_is_told_what_was_left_out() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.distro.until_state(8000, "active");
    let session =
        || rig.companion.cli(&["status", "--json"]).json::<Value>().unwrap()["distros"][0]["session"].clone();
    let before = session();

    for _ in 0..5 {
        let ran = rig.distro.cli(&["doctor", "--json"]);
        let (level, text, _) = found(&ran, "daemon").remove(0);
        assert!(
            level == "ok" && text.contains("knows this distro as ubuntu"),
            "{ran:?}"
        );
    }
    let as_user = rig.distro.cli_as(65_534, &["doctor", "--json"]);

    assert_eq!(session(), before);
    assert_eq!(rig.distro.listeners(8000).unwrap()[0]["state"], "active");
    let companion = found(&as_user, "companion");
    assert_eq!(
        (companion[0].0.as_str(), companion[1].0.as_str()),
        ("ok", "skip"),
        "{as_user:?}"
    );
    assert!(companion[1].1.contains("sudo wslnetd doctor"));
    let plain = rig.distro.cli(&["doctor"]).stdout;
    assert!(
        plain.contains("\nok   companion 172.28.0.1:9756 accepts connections\n"),
        "{plain}"
    );
}

#[test]
fn it_ends_in_time_even_if_everything_hangs() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro.signal(Signal::SIGSTOP);
    world.windows.net.ip("route add blackhole 172.28.0.2/32");
    let start = Instant::now();

    let ran = rig.distro.cli(&["doctor", "--json"]);

    // Six by its own limits, and what a busy machine adds.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(found(&ran, "daemon")[0].1.contains("did not answer"), "{ran:?}");
    assert!(
        found(&ran, "companion")[0].1.contains("does not answer"),
        "{ran:?}"
    );
    rig.distro.signal(Signal::SIGCONT);
}
