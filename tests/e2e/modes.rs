//! Networking modes in which Windows has the VM's ports as its own, and those in which there is nothing to be had.
//!
//! One network namespace stands for Windows and the VM, as both have the same addresses and ports in mirrored mode; their processes are
//! apart. The kernel's packet filter stands for Windows' firewall.

use std::collections::BTreeSet;

use crate::bench::{
    CONTROL_PORT, Client, Companion, Distro, PacketFilter, SOON, WINDOWS, World, check, eventually,
    listen_on, pair, udp_echo, web,
};

/// A world of one network for Windows and the VM.
struct Sharing<'w> {
    companion: Companion<'w>,
    distro: Distro,
    filter: PacketFilter,
    client: &'w Client,
    /// A program of Windows.
    windows: Client,
}

impl<'w> Sharing<'w> {
    fn new(world: &'w World, mode: &str) -> Self {
        world.windows.net.ip("link del vwsl0");
        world.windows.net.ip("route add default via 192.168.50.2");
        let companion = Companion::new(world);
        let distro = Distro::sharing(world, "ubuntu", mode);
        pair(&companion, &distro);
        Self {
            filter: PacketFilter::new(world.windows.net.clone(), &companion.place.state),
            windows: Client::new(world.windows.net.clone()),
            companion,
            distro,
            client: &world.client,
        }
    }

    fn connected(world: &'w World, mode: &str) -> Self {
        let mut sharing = Self::new(world, mode);
        sharing.companion.start_by_itself();
        sharing.distro.start_connected();
        sharing
    }

    /// Which ports the local network reaches.
    fn open(&self) -> BTreeSet<u16> {
        self.client.all_open(WINDOWS)
    }

    fn until_no_rules(&self) {
        eventually(SOON, || {
            let rules = self.filter.rules();
            check(rules.is_empty(), || format!("{rules:?}"))
        });
    }
}

#[test]
fn a_port_opens_with_its_listener_and_closes_with_it() {
    let world = World::new();
    let sharing = Sharing::connected(&world, "mirrored");
    let before = web(&sharing.distro.machine, 8001);
    sharing.distro.until_state(8001, "active");
    sharing.client.until_open(SOON, WINDOWS, 8001);
    drop(before);
    sharing.client.until_closed(SOON, WINDOWS, 8001);

    let _web = web(&sharing.distro.machine, 8000);
    let _private = listen_on(&sharing.distro.machine, "127.0.0.1", 8002);
    let listener = sharing.distro.until_state(8000, "active");

    assert_eq!(
        listener["windows"],
        serde_json::json!(["192.168.50.1:8000", "127.0.0.1:8000"])
    );
    sharing.client.until_open(SOON, WINDOWS, 8000);
    // The companion's own port is on the loopback address, as is the private service.
    assert_eq!(sharing.open(), [8000].into());
    assert!(sharing.client.fetch(WINDOWS, 8000, "/").is_ok());
    let reason = sharing.distro.until_withheld(8002);
    assert!(
        reason.contains("Windows itself reaches it at 127.0.0.1:8002"),
        "{reason}"
    );
    assert!(sharing.windows.fetch("127.0.0.1", 8002, "/").is_ok());
    let hyperv = std::fs::read_to_string(format!("{}/hyperv-rules.toml", sharing.companion.place.state));
    assert!(hyperv.unwrap().contains("wslnet-tcp-8000"));
    // Nothing of the companion listens there: the service itself does.
    let list = sharing.companion.forwards(8000).unwrap();
    assert_eq!(list[0]["target"], serde_json::Value::Null);
}

#[test]
fn what_is_opted_out_or_kept_on_windows_has_no_rule() {
    let world = World::new();
    let sharing = Sharing::connected(&world, "mirrored");
    let machine = &sharing.distro.machine;
    let _webs = [web(machine, 8000), web(machine, 8001), web(machine, 8002)];
    for port in [8000, 8001, 8002] {
        sharing.distro.until_state(port, "active");
        sharing.client.until_open(SOON, WINDOWS, port);
    }

    let rules = "opt-out = [\"port=8000\"]\n[[rule]]\nwhen = \"port=8001\"\nreach = \"host\"\n\
                 [[rule]]\nwhen = \"port=8002\"\nlisten-port = 8888\n";
    sharing.distro.place.configure(rules);
    sharing.distro.cli(&["reload"]).ok();

    for port in [8000, 8001, 8002] {
        sharing.client.until_closed(SOON, WINDOWS, port);
    }
    sharing.until_no_rules();
    assert_eq!(sharing.open(), BTreeSet::new());
    let host = sharing.distro.until_state(8001, "active");
    assert_eq!(host["reason"], "Windows itself reaches it at 127.0.0.1:8001");
    let refused = sharing.distro.until_withheld(8002);
    assert!(
        refused.contains("8888") && refused.contains("nothing is relayed"),
        "{refused}"
    );
    assert!(sharing.windows.fetch("127.0.0.1", 8001, "/").is_ok());
}

#[test]
fn udp_by_rule_is_let_in_as_it_is() {
    let world = World::new();
    let mut sharing = Sharing::new(&world, "mirrored");
    sharing
        .distro
        .place
        .configure("[[rule]]\nwhen = \"port=5000\"\nudp = true\n");
    sharing.companion.start_by_itself();
    sharing.distro.start_connected();
    let _echo = udp_echo(&sharing.distro.machine, "echo", 5000);

    sharing.distro.until_state(5000, "active");

    eventually(SOON, || {
        let answer = sharing.client.ask_udp(WINDOWS, 5000, b"hello");
        check(answer.as_deref().ok() == Some(&b"echo:hello"[..]), || {
            format!("{answer:?}")
        })
    });
}

#[test]
fn no_rule_outlives_a_killed_companion_that_starts_again_or_is_purged() {
    let world = World::new();
    let mut sharing = Sharing::connected(&world, "mirrored");
    let web = web(&sharing.distro.machine, 8000);
    sharing.distro.until_state(8000, "active");
    sharing.client.until_open(SOON, WINDOWS, 8000);

    sharing.companion.kill();
    sharing.distro.kill();
    drop(web);
    assert_eq!(
        sharing.filter.rules(),
        ["wslnet shared port tcp 8000"],
        "left by the crash"
    );
    sharing.companion.start_by_itself();
    sharing.until_no_rules();

    let again = crate::bench::web(&sharing.distro.machine, 8001);
    sharing.distro.start_connected();
    sharing.distro.until_state(8001, "active");
    sharing.companion.kill();
    let told = sharing.companion.cli(&["purge"]).ok();
    assert!(
        told.contains("wslnet shared port tcp 8001") && told.contains("wslnet-tcp-8001"),
        "{told}"
    );
    assert_eq!(sharing.filter.rules(), [""; 0]);

    sharing.companion.start_by_itself();
    sharing.distro.until_state(8001, "active");
    sharing.client.until_open(SOON, WINDOWS, 8001);
    sharing.companion.stop();
    sharing.until_no_rules();
    drop(again);
}

#[test]
fn a_distro_that_goes_takes_its_rules_along() {
    let world = World::new();
    let mut sharing = Sharing::connected(&world, "mirrored");
    let _web = web(&sharing.distro.machine, 8000);
    sharing.distro.until_state(8000, "active");

    sharing.distro.kill();

    sharing.until_no_rules();
    sharing.client.until_closed(SOON, WINDOWS, 8000);
}

#[test]
fn the_newer_name_of_virtioproxy_is_known() {
    let world = World::new();
    let sharing = Sharing::connected(&world, "consomme");
    let _web = web(&sharing.distro.machine, 8000);

    sharing.distro.until_state(8000, "active");

    sharing.client.until_open(SOON, WINDOWS, 8000);
    assert_eq!(sharing.distro.status().unwrap()["mode"], "virtioproxy");
    assert!(!std::path::Path::new(&format!("{}/hyperv-rules.toml", sharing.companion.place.state)).exists());
}

#[test]
fn without_the_right_the_state_says_what_has_it() {
    let world = World::new();
    let mut sharing = Sharing::new(&world, "mirrored");
    let file = format!("{}/hyperv-rules.toml", sharing.companion.place.state);
    std::fs::write(&file, "writable = false\n").unwrap();
    sharing.companion.start_by_itself();
    sharing.distro.start_connected();
    let _web = web(&sharing.distro.machine, 8000);

    let denied = sharing.distro.until_state(8000, "denied");

    let reason = denied["reason"].as_str().unwrap();
    assert!(
        reason.contains("Windows service") && reason.contains("127.0.0.1:8000"),
        "{reason}"
    );
    assert_eq!(sharing.open(), BTreeSet::new());
}

#[test]
fn an_unknown_mode_and_a_bridged_one_expose_nothing() {
    for (mode, says) in [
        ("quantum", "what that means is not known"),
        ("bridged", "192.168.50.1:8000"),
        ("none", "no network"),
    ] {
        let world = World::new();
        let mut sharing = Sharing::new(&world, mode);
        sharing.companion.start_by_itself();
        sharing.distro.start();
        let _web = web(&sharing.distro.machine, 8000);

        let reason = sharing.distro.until_withheld(8000);

        assert!(reason.contains(mode) && reason.contains(says), "{reason}");
        let status = sharing.distro.status().unwrap();
        assert_eq!(status["companion"]["state"], "searching");
        assert_eq!(sharing.open(), BTreeSet::new());
    }
}

#[test]
fn a_program_that_is_nearer_than_windows_is_told() {
    let world = World::new();
    let mut sharing = Sharing::new(&world, "mirrored");
    let squatter = listen_on(&sharing.distro.machine, "127.0.0.1", CONTROL_PORT);
    sharing.distro.start();

    eventually(SOON, || {
        let status = sharing.distro.status()?;
        let reason = status["companion"]["reason"].as_str().unwrap_or_default();
        check(
            reason.contains("python3 of this distro listens on port 9756"),
            || status.to_string(),
        )
    });
    drop(squatter);
    sharing.companion.start_by_itself();
    sharing.distro.until_connected();
}

#[test]
fn a_claim_that_does_not_fit_opens_nothing() {
    let world = World::new();
    let mut companion = Companion::new(&world);
    let mut nat = Distro::in_wsl(&world, world.vm.clone(), "nat", "mirrored");
    pair(&companion, &nat);
    companion.start();
    nat.place.configure("companion = \"172.28.0.1:9756\"\n");
    nat.start();
    let _web = web(&nat.machine, 8000);
    eventually(SOON, || {
        let status = nat.status()?;
        let reason = status["companion"]["reason"].as_str().unwrap_or_default();
        check(reason.contains("not from 127.0.0.1"), || status.to_string())
    });
    assert_eq!(companion.list().unwrap().len(), 0);
    nat.stop();
}

#[test]
fn the_companion_dials_no_loopback_service_for_a_session_that_says_nat() {
    let world = World::new();
    let mut sharing = Sharing::new(&world, "mirrored");
    let mut liar = Distro::sharing(&world, "liar", "nat");
    pair(&sharing.companion, &liar);
    liar.place.configure("companion = \"127.0.0.1:9756\"\n");
    sharing.companion.start_by_itself();
    liar.start();
    let _web = web(&liar.machine, 8000);

    eventually(SOON, || {
        let status = liar.status()?;
        let reason = status["companion"]["reason"].as_str().unwrap_or_default();
        check(reason.contains("comes from 127.0.0.1"), || status.to_string())
    });
    assert_eq!(sharing.companion.list().unwrap().len(), 0);
    sharing.companion.stop();
}
