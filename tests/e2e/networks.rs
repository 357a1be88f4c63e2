//! Networks of different categories: what is opened in which. On the development host a file says which category a network has.

use std::path::Path;

use serde_json::Value;

use crate::bench::{Companion, Rig, SOON, WINDOWS, World, check, eventually, web};

#[test]
fn nothing_is_opened_in_a_public_network_and_a_changed_category_is_followed() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    say(&rig.companion, "public");
    rig.companion.start();
    rig.distro.start_connected();

    let _web = web(&rig.distro.machine, 8000);
    rig.distro.until(SOON, 8000, |one| {
        let reason = one["reason"].as_str().unwrap_or_default();
        one["state"] == "pending"
            && reason.contains("`vlan0` is in a public network")
            && reason.contains("Set-NetConnectionProfile")
            && reason.contains("`networks` in companion.toml")
    });
    assert!(rig.client.open_among(WINDOWS, &[8000]).is_empty());
    let network = network(&rig.companion);
    assert_eq!(network["category"], "public", "{network}");
    assert!(
        network["left_out"].as_str().unwrap().contains("networks"),
        "{network}"
    );

    say(&rig.companion, "private");
    rig.client.until_open(SOON, WINDOWS, 8000);
    eventually(SOON, || {
        let network = self::network(&rig.companion);
        check(
            network["category"] == "private" && network["left_out"] == "",
            || network.to_string(),
        )
    });

    // Windows has moved to a network of which it knows nothing.
    say(&rig.companion, "unknown");
    rig.client.until_closed(SOON, WINDOWS, 8000);
    rig.distro.until(SOON, 8000, |one| {
        one["reason"]
            .as_str()
            .unwrap_or_default()
            .contains("Windows does not say in which kind of network `vlan0` is")
    });
}

#[test]
fn companion_toml_says_in_which_networks_and_is_followed_while_it_runs() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    say(&rig.companion, "public");
    rig.companion.place.configure("networks = \"any\"\n");
    rig.companion.start();
    rig.distro.start_connected();
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.companion.place.configure("networks = [\"domain\"]\n");
    rig.client.until_closed(SOON, WINDOWS, 8000);
    say(&rig.companion, "domain");
    rig.client.until_open(SOON, WINDOWS, 8000);

    let text = rig.companion.cli(&["status"]).ok();
    assert!(text.contains("network: vlan0 (domain)"), "{text}");
}

/// Has the interface of the local network be in a network of this category.
fn say(companion: &Companion<'_>, category: &str) {
    let file = Path::new(&companion.place.state).join("networks.toml");
    let beside = file.with_extension("new");
    std::fs::write(&beside, format!("[interfaces]\nvlan0 = \"{category}\"\n")).unwrap();
    std::fs::rename(beside, file).unwrap();
}

/// What status says of that interface.
fn network(companion: &Companion<'_>) -> Value {
    let status: Value = companion.cli(&["status", "--json"]).json().unwrap();
    let networks = status["networks"].as_array().unwrap();
    networks
        .iter()
        .find(|network| network["interface"] == "vlan0")
        .cloned()
        .unwrap_or_default()
}
