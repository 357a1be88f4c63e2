//! The Windows program under Wine, with the Linux daemon against it: the main job once more.

mod install;
mod pairing;
mod portproxy;
mod service;

use nix::sys::signal::Signal;

use crate::bench::{
    A_SECOND, Client, Distro, SOON, WINDOWS, Windows, check, eventually, guest, listen_on, stays, web,
};

#[test]
fn the_windows_program_does_the_main_job() {
    let world = Windows::world();
    let windows = Windows::new(&world);
    let mut distro = Distro::new(&world, "ubuntu");
    let key = windows.cli(&["key"]);
    windows.cli(&["trust", "ubuntu", &distro.key()]);
    distro.cli(&["trust", &key]).ok();
    let companion = windows.start();
    distro.start_connected();

    let server = web(&distro.machine, 8000);
    let _private = listen_on(&distro.machine, "127.0.0.1", 8001);
    let _reserved = web(&distro.machine, 445);
    distro.until_state(8000, "active");
    distro.until_withheld(8001);
    distro.until_state(445, "denied");
    assert!(
        world
            .client
            .fetch(WINDOWS, 8000, "/")
            .unwrap()
            .contains("Directory listing")
    );
    assert_eq!(
        world.client.open_among(WINDOWS, &[445, 8000, 8001, 9756]),
        [8000].into()
    );

    server.kill();
    world.client.until_closed(SOON, WINDOWS, 8000);

    let _again = web(&distro.machine, 8002);
    world.client.until_open(SOON, WINDOWS, 8002);
    companion.kill();
    world.client.until_closed(SOON, WINDOWS, 8002);
}

#[test]
fn a_public_network_is_left_out_until_the_configuration_allows_it() {
    let world = Windows::world();
    let windows = Windows::new(&world);
    let mut distro = Distro::new(&world, "ubuntu");
    let key = windows.cli(&["key"]);
    windows.cli(&["trust", "ubuntu", &distro.key()]);
    distro.cli(&["trust", &key]).ok();
    windows.configure("networks = [\"private\", \"domain\"]\n");
    let _companion = windows.start();
    distro.start_connected();

    let _web = web(&distro.machine, 8000);
    distro.until(SOON, 8000, |one| {
        let reason = one["reason"].as_str().unwrap_or_default();
        one["state"] == "pending" && reason.contains("is in a public network")
    });
    windows.configure("networks = [\"public\"]\n");
    world.client.until_open(SOON, WINDOWS, 8000);
}

#[test]
fn a_port_that_a_windows_program_holds_is_a_conflict() {
    let world = Windows::world();
    let windows = Windows::new(&world);
    let mut distro = Distro::new(&world, "ubuntu");
    let key = windows.cli(&["key"]);
    windows.cli(&["trust", "ubuntu", &distro.key()]);
    distro.cli(&["trust", &key]).ok();
    let _companion = windows.start();
    distro.start_connected();
    let holder = listen_on(&world.windows, WINDOWS, 8000);
    world.client.until_open(SOON, WINDOWS, 8000);

    let _web = web(&distro.machine, 8000);
    eventually(SOON, || {
        let seen = distro.listeners(8000)?;
        check(
            seen.iter()
                .any(|one| !one["reason"].as_str().unwrap_or_default().is_empty()),
            || format!("{seen:?}"),
        )
    });

    holder.kill();
    distro.until(SOON, 8000, |one| {
        one["windows"]
            .as_array()
            .is_some_and(|all| all.contains(&"192.168.50.1:8000".into()))
    });
    assert!(world.client.fetch(WINDOWS, 8000, "/").is_ok());
}

#[test]
fn names_are_in_windows_own_hosts_file_and_leave_no_trace() {
    let world = Windows::world();
    let windows = Windows::new(&world);
    let file = windows.hosts();
    // Others wrote it before. A new file, because the prefix shares its files with the one it was copied from.
    let others: &[u8] =
        b"\xef\xbb\xbf# Copyright (c) somebody\r\n127.0.0.1 localhost\r\n10.0.0.9 nas.wsl\r\n\xff\r\nno end";
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, others).unwrap();
    let mut distro = Distro::new(&world, "ubuntu");
    let key = windows.cli(&["key"]);
    windows.cli(&["trust", "ubuntu", &distro.key()]);
    distro.cli(&["trust", &key]).ok();
    let mut companion = windows.start();
    distro.start_connected();
    distro.reconfigure(
        "[[rule]]\nwhen = \"port=8000\"\nname = \"shop\"\n[[rule]]\nwhen = \"port=8001\"\nname = \"nas\"\n",
    );

    let _shop = web(&distro.machine, 8000);
    let _nas = web(&distro.machine, 8001);

    distro.until(SOON * 2, 8000, |row| row["reason"] == "name shop.wsl");
    distro.until(SOON * 2, 8001, |row| {
        row["reason"].to_string().contains("no name nas.wsl")
    });
    let with = std::fs::read(&file).unwrap();
    let line = format!("\r\n{WINDOWS} shop.wsl # wslnet\r\n# END wslnet\r\n");
    assert!(
        with.starts_with(others) && with.ends_with(line.as_bytes()),
        "{}",
        String::from_utf8_lossy(&with)
    );
    assert!(
        windows
            .cli(&["status"])
            .contains(r"names: 1 in C:\windows\system32\drivers\etc\hosts")
    );

    // Ctrl-C, as Wine has it.
    companion.signal(Signal::SIGINT);
    companion.wait();
    assert_eq!(std::fs::read(&file).unwrap(), others);

    let companion = windows.start();
    eventually(SOON * 2, || {
        let seen = std::fs::read(&file).unwrap_or_default();
        check(seen.len() > others.len(), || "no block".to_owned())
    });
    companion.kill();
    windows.cli(&["purge"]);
    assert_eq!(std::fs::read(&file).unwrap(), others);
}

#[test]
fn windows_own_loopback_is_filled_where_wsl_leaves_it_free() {
    const LOCALHOST: &str = "127.0.0.1";
    let world = Windows::world();
    let windows = Windows::new(&world);
    let mut distro = Distro::new(&world, "ubuntu");
    let key = windows.cli(&["key"]);
    windows.cli(&["trust", "ubuntu", &distro.key()]);
    distro.cli(&["trust", &key]).ok();
    let _companion = windows.start();
    distro.start_connected();
    let here = Client::new(world.windows.net.clone());
    // In the place of wslrelay.exe, and first.
    let wsl = listen_on(&world.windows, LOCALHOST, 8001);
    here.until_open(SOON, LOCALHOST, 8001);

    let _v4 = web(&distro.machine, 8000);
    let _dual = guest(
        &distro.machine,
        "dual",
        "serve(listener(8001, '::', only_v6=0), b'from the VM')",
    );
    for port in [8000, 8001] {
        world.client.until_open(SOON, WINDOWS, port);
    }

    stays(A_SECOND, || {
        let open = here.open_among(LOCALHOST, &[8000]);
        check(open.is_empty(), || "8000 is WSL's".to_owned())?;
        let answer = here.ask(LOCALHOST, 8001, "");
        let is_ours = answer.as_ref().is_ok_and(|answer| answer == "from the VM");
        check(!is_ours, || "8001 was taken away".to_owned())
    });
    wsl.kill();
    eventually(SOON, || match here.ask(LOCALHOST, 8001, "") {
        Ok(answer) if answer == "from the VM" => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
