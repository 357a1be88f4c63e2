//! The daemon as a unit of a real systemd.

mod units;

use std::time::Duration;

use crate::bench::{A_SECOND, Companion, SOON, SystemdDistro, WINDOWS, World, check, eventually};

const CONFIG: &str = "network-mode = \"nat\"\n";
const WEB: [&str; 5] = [
    "/usr/bin/python3",
    "-m",
    "http.server",
    "--directory=/usr",
    "8000",
];

/// A distro under systemd that a running companion trusts; the unit is not started.
fn paired(world: &World) -> (Companion<'_>, SystemdDistro) {
    let mut companion = Companion::new(world);
    let distro = SystemdDistro::boot(world, CONFIG);
    companion.trust("ubuntu", distro.run(&["wslnetd", "key"]).ok().trim());
    distro.run(&["wslnetd", "trust", &companion.key()]).ok();
    companion.start();
    (companion, distro)
}

#[test]
fn the_unit_does_the_main_job_and_says_so_in_one_line() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    distro.start("web", &WEB);
    distro.start(
        "private",
        &[
            "/usr/bin/python3",
            "-m",
            "http.server",
            "--bind=127.0.0.1",
            "8001",
        ],
    );

    distro.systemctl(&["start", "wslnetd.service"]).ok();

    world.client.until_open(SOON, WINDOWS, 8000);
    assert!(
        world
            .client
            .fetch(WINDOWS, 8000, "/")
            .unwrap()
            .contains("Directory listing")
    );
    eventually(SOON, || {
        let shown = distro.systemctl(&["status", "wslnetd.service"]).stdout;
        let line = shown
            .lines()
            .find(|line| line.trim_start().starts_with("Status:"));
        let line = line.unwrap_or_default();
        let words = [
            "listeners",
            "exposed on 192.168.50.1",
            "private",
            "172.28.0.1:9756 connected",
        ];
        check(words.iter().all(|word| line.contains(word)), || shown.clone())
    });
    assert_eq!(distro.status().unwrap()["companion"]["state"], "connected");
    // The journal names the processes, which takes both capabilities.
    let list: Vec<serde_json::Value> = distro.run(&["wslnetd", "list", "--json"]).json().unwrap();
    let web = list.iter().find(|one| one["port"] == 8000).unwrap();
    assert_eq!(web["process"], "python3", "{web}");

    distro.systemctl(&["stop", "wslnetd.service"]).ok();
    world.client.until_closed(Duration::from_secs(1), WINDOWS, 8000);
    assert_eq!(distro.property("Result"), "success");
}

#[test]
fn the_unit_is_ready_without_a_companion() {
    let world = World::new();
    let distro = SystemdDistro::boot(&world, CONFIG);

    distro.systemctl(&["start", "wslnetd.service"]).ok();

    assert_eq!(distro.property("ActiveState"), "active");
    assert_eq!(distro.property("NRestarts"), "0");
    eventually(SOON, || {
        let line = distro.property("StatusText");
        check(line.contains("companion"), || line.clone())
    });
}

#[test]
fn systemctl_reload_applies_a_changed_file() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    distro.start("web", &WEB);
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    world.client.until_open(SOON, WINDOWS, 8000);
    let before = distro.property("MainPID");

    distro.write(
        "/etc/wslnetd/config.toml",
        &format!("{CONFIG}opt-out = [\"port=8000\"]\n"),
    );
    distro.systemctl(&["reload", "wslnetd.service"]).ok();
    world.client.until_closed(SOON, WINDOWS, 8000);

    distro.write("/etc/wslnetd/config.toml", "opt-out = [\"prot=8000\"]\n");
    let refused = distro.systemctl(&["reload", "wslnetd.service"]);
    assert_ne!(refused.code, 0, "a bad file was accepted");
    eventually(SOON, || {
        let status = distro.status()?;
        check(status["config_error"].is_string(), || status.to_string())
    });
    assert_eq!(distro.property("ActiveState"), "active");
    assert_eq!(distro.property("MainPID"), before);

    distro.write("/etc/wslnetd/config.toml", CONFIG);
    distro.systemctl(&["reload", "wslnetd.service"]).ok();
    world.client.until_open(SOON, WINDOWS, 8000);
}

#[test]
fn a_daemon_that_hangs_is_restarted_by_the_watchdog() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    let drop_in = "/etc/systemd/system/wslnetd.service.d/watchdog.conf";
    distro.write(drop_in, "[Service]\nWatchdogSec=1\n");
    distro.systemctl(&["daemon-reload"]).ok();
    distro.start("web", &WEB);
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    world.client.until_open(SOON, WINDOWS, 8000);
    // A daemon that works feeds it: several watchdog times pass without a restart.
    crate::bench::stays(A_SECOND * 2, || {
        let restarts = distro.property("NRestarts");
        check(restarts == "0", || format!("restarted {restarts} times"))
    });
    let before = distro.property("MainPID");

    distro.run(&["kill", "-STOP", &before]).ok();

    eventually(SOON, || {
        let (pid, restarts) = (distro.property("MainPID"), distro.property("NRestarts"));
        let running = pid != before && pid != "0" && restarts != "0";
        check(running, || format!("process {pid}, restarted {restarts} times"))
    });
    eventually(SOON, || {
        let status = distro.status()?;
        check(status["companion"]["state"] == "connected", || status.to_string())
    });
    world.client.until_open(SOON, WINDOWS, 8000);
}

#[test]
fn a_killed_daemon_is_back_before_its_ports_close() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    distro.start("web", &WEB);
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    world.client.until_open(SOON, WINDOWS, 8000);
    let before = distro.property("MainPID");

    distro
        .systemctl(&["kill", "--signal=KILL", "wslnetd.service"])
        .ok();

    crate::bench::stays(Duration::from_secs(5), || {
        let open = world.client.open_among(WINDOWS, &[8000]);
        check(!open.is_empty(), || "closed".to_owned())
    });
    assert_ne!(distro.property("MainPID"), before);
}
