//! The installed config, against the real services that it keeps private.

use std::os::unix::fs::PermissionsExt;

use crate::bench::{
    Machine, PYTHON, Program, Rig, SOON, WINDOWS, World, check, eventually, require, require_program,
    stock_redis, web,
};

/// Debian puts the server's programs where the PATH does not lead.
const POSTGRES: &str = "/usr/lib/postgresql";

#[test]
fn databases_and_debuggers_stay_off_the_network_whatever_port_they_take() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    rig.distro.configure(include_str!("../../systemd/config.toml"));
    rig.companion.start();
    rig.distro.start_connected();
    let machine = &rig.distro.machine;

    let _web = web(machine, 8000);
    let _redis = stock_redis(machine, 6379, Some("0.0.0.0"));
    let _redis_elsewhere = stock_redis(machine, 7379, Some("0.0.0.0"));
    let _postgres = postgres(&world, machine, 5432);
    let _postgres_elsewhere = postgres(&world, machine, 7432);
    let _inspector = inspector(machine);
    let _debugger = debugger(machine);
    for port in [6379, 7379, 5432, 7432, 9229, 4711] {
        eventually(SOON, || {
            let rows = rig.distro.listeners(port)?;
            let is_private = |row: &serde_json::Value| row["state"] == "withheld";
            check(!rows.is_empty() && rows.iter().all(is_private), || {
                format!("{port}: {rows:?}")
            })
        });
    }
    rig.client.until_open(SOON, WINDOWS, 8000);

    assert_eq!(rig.client.all_open(WINDOWS), [8000].into());
    for port in [6379, 7379, 5432, 7432, 9229, 4711] {
        for row in rig.distro.listeners(port).unwrap() {
            let reason = row["reason"].as_str().unwrap_or_default().to_owned();
            assert!(reason.starts_with("opted out by"), "{port}: {reason}");
        }
    }
}

#[test]
fn every_entry_of_the_installed_config_can_be_taken_back_by_one_rule() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let shipped = include_str!("../../systemd/config.toml");
    let back = "[[rule]]\nwhen = \"process=redis-server,port=6379\"\nexpose = true\n";
    rig.distro.configure(&format!("{shipped}\n{back}"));
    rig.companion.start();
    rig.distro.start_connected();
    let _redis = stock_redis(&rig.distro.machine, 6379, Some("0.0.0.0"));
    let _other = stock_redis(&rig.distro.machine, 7379, Some("0.0.0.0"));

    rig.client.until_open(SOON, WINDOWS, 6379);

    rig.distro.until_withheld(7379);
}

/// A PostgreSQL of its own that listens on all addresses and asks nobody for a password, as many a `docker run` does.
fn postgres(world: &World, machine: &Machine, port: u16) -> Program {
    let release = std::fs::read_dir(POSTGRES)
        .ok()
        .and_then(|mut releases| releases.next()?.ok())
        .map(|entry| entry.path().join("bin"));
    require("PostgreSQL", release.is_some(), "apt-get install postgresql");
    let programs = release.unwrap();
    let data = world.new_folder(&format!("postgres-{port}"));
    // It refuses to run as root, and to use a folder that others can enter.
    let user = nix::unistd::User::from_name("postgres").unwrap().unwrap();
    std::os::unix::fs::chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    let folder = data.display().to_string();
    let program = |name: &str| programs.join(name).display().to_string();
    let initdb = program("initdb");
    machine
        .run_as(
            user.uid.as_raw(),
            &[&initdb, "--auth=trust", "--no-sync", "-D", &folder],
        )
        .ok();
    let (server, port) = (program("postgres"), port.to_string());
    let line = [
        server.as_str(),
        "-D",
        &folder,
        "-p",
        &port,
        "-c",
        "listen_addresses=*",
        "-c",
        "fsync=off",
        "-c",
        "unix_socket_directories=",
    ];
    machine.spawn_as(user.uid.as_raw(), &format!("postgres-{port}"), &line)
}

/// Something on the port at which Node.js waits for its debugger.
fn inspector(machine: &Machine) -> Program {
    let line = [PYTHON, "-m", "http.server", "--directory", "/usr", "9229"];
    machine.spawn("inspector", &line)
}

/// A debugger that waits for whoever comes.
fn debugger(machine: &Machine) -> Program {
    require_program("gdbserver", "gdbserver");
    machine.spawn("gdbserver", &["gdbserver", "0.0.0.0:4711", "/bin/cat"])
}
