//! What the config keeps private, and how a changed config is applied.

use std::io::{Read, Write};

use nix::sys::signal::Signal;

use crate::bench::{
    A_SECOND, PYTHON, Rig, SOON, WINDOWS, World, check, eventually, guest, listen_on, stays, web,
};

const WWW_DATA: u32 = 33;

#[test]
fn each_kind_of_selector_withholds_what_it_names() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let machine = &rig.distro.machine;
    let named = |port: u16, name: &str| {
        let script = format!("rename(b'{name}')\nserve(listener({port}), b'x')");
        guest(machine, name, &script)
    };
    let _port = web(machine, 8000);
    let _range = web(machine, 8105);
    let _process = named(8200, "postgres");
    let line = [PYTHON, "-m", "http.server", "--directory", "/usr", "8300"];
    let _user = machine.spawn_as(WWW_DATA, "www", &line);
    let _bind = listen_on(machine, crate::bench::VM, 8400);
    let _half = web(machine, 8500);
    let _whole = named(8501, "worker");
    let all = [8000, 8105, 8200, 8300, 8400, 8500, 8501];
    eventually(SOON, || {
        let open = rig.client.open_among(WINDOWS, &all);
        check(open == all.into(), || format!("open: {open:?}"))
    });

    let selectors = [
        ("port=8000", vec![8000]),
        ("port=8100-8199", vec![8105]),
        ("process=postgres", vec![8200]),
        ("user=www-data", vec![8300]),
        ("uid=33", vec![8300]),
        ("bind=172.28.0.2", vec![8400]),
        ("process=worker,port=8500-8599", vec![8501]),
        ("exe=/usr/bin/python3.11,port=8000", vec![8000]),
        (
            "proto=tcp,bind=wildcard",
            vec![8000, 8105, 8200, 8300, 8500, 8501],
        ),
    ];
    for (selector, closed) in selectors {
        // The interpreter's real name changes with the release of the system.
        let exe = std::fs::canonicalize(PYTHON).unwrap().display().to_string();
        let selector = selector.replace("/usr/bin/python3.11", &exe);

        rig.distro.reconfigure(&format!("opt-out = [\"{selector}\"]\n"));

        eventually(SOON, || {
            let open = rig.client.open_among(WINDOWS, &all);
            let expected = all.into_iter().filter(|port| !closed.contains(port)).collect();
            check(open == expected, || {
                format!("{selector}: open {open:?}, expected {expected:?}")
            })
        });
        for port in &closed {
            let reason = rig.distro.until_withheld(*port);
            assert!(reason.contains(&selector), "{selector}: {reason}");
        }
    }
}

#[test]
fn reach_host_keeps_it_off_the_local_network() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.distro.reconfigure("[expose]\nreach = \"host\"\n");
    rig.client.until_closed(SOON, WINDOWS, 8000);

    rig.distro.reconfigure("[expose]\nreach = \"lan\"\n");
    rig.client.until_open(SOON, WINDOWS, 8000);
}

#[test]
fn hangup_reloads_too() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.distro.configure("opt-out = [\"port=8000\"]\n");
    rig.distro.signal(Signal::SIGHUP);

    rig.client.until_closed(SOON, WINDOWS, 8000);
}

#[test]
fn opting_out_cuts_live_connections() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _echo = guest(
        &rig.distro.machine,
        "echo",
        "s = listener(8000)\nc, _ = s.accept()\nwhile (part := c.recv(100)): c.sendall(part)\n",
    );
    rig.distro.until_state(8000, "active");
    let mut stream = rig.client.connect(WINDOWS, 8000).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();

    rig.distro.reconfigure("opt-out = [\"port=8000\"]\n");

    let ended = stream.read(&mut [0; 1]);
    assert!(matches!(ended, Ok(0)) || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
}

#[test]
fn a_bad_file_on_reload_changes_nothing_and_shows_in_status() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro.reconfigure("opt-out = [\"port=8001\"]\n");
    let _open = web(&rig.distro.machine, 8000);
    let _private = web(&rig.distro.machine, 8001);
    rig.distro.until_state(8000, "active");
    rig.distro.until_withheld(8001);

    rig.distro.configure("opt-out = [\"port=8000\", \"prot=1\"]\n");
    let refused = rig.distro.cli(&["reload"]);

    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("prot"), "{refused:?}");
    let status = rig.distro.status().unwrap();
    assert!(
        status["config_error"]
            .as_str()
            .unwrap_or_default()
            .contains("prot"),
        "{status}"
    );
    stays(A_SECOND, || {
        let open = rig.client.open_among(WINDOWS, &[8000, 8001]);
        check(open == [8000].into(), || format!("open: {open:?}"))
    });

    rig.distro.reconfigure("opt-out = [\"port=8000\"]\n");
    eventually(SOON, || {
        let open = rig.client.open_among(WINDOWS, &[8000, 8001]);
        check(open == [8001].into(), || format!("open: {open:?}"))
    });
    assert!(rig.distro.status().unwrap()["config_error"].is_null());
}

#[test]
fn a_hangup_with_a_bad_file_changes_nothing_either() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.distro.configure("opt-out = [\"port=99999\"]\n");
    rig.distro.signal(Signal::SIGHUP);

    eventually(SOON, || {
        let status = rig.distro.status()?;
        let error = status["config_error"].as_str().unwrap_or_default();
        check(error.contains("99999"), || status.to_string())
    });
    assert!(rig.client.fetch(WINDOWS, 8000, "/").is_ok());
}

#[test]
fn check_shows_every_error_of_a_file_with_its_place() {
    let world = World::new();
    let rig = Rig::new(&world);
    rig.distro.configure(
        "opt-outs = []\nopt-out = [\"port=99999\", \"proces=nginx\"]\n[expose]\nreach = \"wan\"\n",
    );

    let checked = rig.distro.cli(&["check"]);

    assert_eq!(checked.code, 1, "{checked:?}");
    // The first line of the file is the networking mode.
    let text = format!("{}{}", checked.stdout, checked.stderr);
    for (place, part) in [
        (":2:", "opt-outs"),
        (":3:", "99999"),
        (":3:", "proces"),
        (":5:", "wan"),
    ] {
        assert!(
            text.contains(place) && text.contains(part),
            "no {part} at {place} in:\n{text}"
        );
    }
    assert!(text.contains("process"), "no hint in:\n{text}");
}

#[test]
fn check_of_another_file_that_is_good() {
    let world = World::new();
    let rig = Rig::new(&world);
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/config.toml");

    let checked = rig
        .distro
        .machine
        .run(&[env!("CARGO_BIN_EXE_wslnetd"), "check", shipped]);

    assert_eq!(checked.code, 0, "{checked:?}");
    let missing = rig
        .distro
        .machine
        .run(&[env!("CARGO_BIN_EXE_wslnetd"), "check", "/nowhere"]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains("/nowhere"), "{missing:?}");
}

#[test]
fn the_shipped_config_keeps_databases_and_debuggers_private() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let shipped = include_str!("../../systemd/config.toml");
    // Its comment on the networking mode explains that only other systems than WSL need it.
    rig.distro.configure(shipped);
    rig.companion.start();
    rig.distro.start_connected();
    let _web = web(&rig.distro.machine, 8000);
    let _redis = web(&rig.distro.machine, 6379);
    let _debugger = web(&rig.distro.machine, 9229);
    rig.distro.until_state(8000, "active");
    rig.distro.until_withheld(6379);
    rig.distro.until_withheld(9229);

    assert_eq!(rig.client.open_among(WINDOWS, &[8000, 6379, 9229]), [8000].into());
}
