//! The commands: exit codes, fields, pipes, and what `explain` says.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::bench::{A_SECOND, PYTHON, Rig, SOON, WINDOWS, World, eventually, listen_on, web};

const DAEMON: &str = env!("CARGO_BIN_EXE_wslnetd");
const COMPANION: &str = env!("CARGO_BIN_EXE_wslnet-companion");

#[test]
fn a_wrong_command_line_is_two() {
    let world = World::new();
    let machine = &world.windows;
    for line in [
        vec![DAEMON, "no-such-verb"],
        vec![DAEMON, "explain"],
        vec![DAEMON, "explain", "99999"],
        vec![DAEMON, "list", "--no-such-flag"],
        vec![DAEMON],
        vec![COMPANION, "no-such-verb"],
        vec![COMPANION, "trust", "name-without-key"],
        vec![COMPANION, "run", "--listen", "nonsense"],
    ] {
        let ran = machine.run(&line);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(!ran.stderr.is_empty(), "{ran:?}");
    }
}

#[test]
fn help_and_version_are_success_on_stdout() {
    let world = World::new();
    for program in [DAEMON, COMPANION] {
        for flag in ["--help", "--version"] {
            let text = world.windows.run(&[program, flag]).ok();
            assert!(!text.is_empty());
        }
    }
}

#[test]
fn without_a_daemon_the_answer_is_one_and_names_the_fix() {
    let world = World::new();
    let rig = Rig::new(&world);
    for verb in [
        vec!["status"],
        vec!["list"],
        vec!["explain", "8000"],
        vec!["reload"],
    ] {
        let ran = rig.distro.cli(&verb);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("wslnetd"), "{ran:?}");
    }
    for verb in ["status", "list"] {
        let ran = rig.companion.cli(&[verb]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(!ran.stderr.is_empty(), "{ran:?}");
    }
}

#[test]
fn the_promised_fields_are_there() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    let _private = listen_on(&rig.distro.machine, "127.0.0.1", 8001);
    let listener = rig.distro.until_state(8000, "active");
    rig.distro.until_withheld(8001);

    has(
        &listener,
        &[
            "protocol", "address", "port", "process", "user", "labels", "verdict", "state", "reason",
            "windows",
        ],
    );
    assert_eq!(listener["protocol"], "tcp");
    assert_eq!(listener["address"], "0.0.0.0");
    let labels: Vec<&str> = listener["labels"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for label in [
        "port=8000",
        "proto=tcp",
        "bind=wildcard",
        "process=python3",
        "user=root",
        "uid=0",
    ] {
        assert!(labels.contains(&label), "{label} in {labels:?}");
    }
    assert!(
        labels
            .iter()
            .any(|label| label.starts_with("exe=/usr/bin/python3")),
        "{labels:?}"
    );

    let status = rig.distro.status().unwrap();
    has(
        &status,
        &[
            "mode",
            "vm_address",
            "companion",
            "listeners",
            "exposed",
            "withheld",
            "config_error",
        ],
    );
    has(&status["companion"], &["state", "address", "version"]);
    assert_eq!(status["mode"], "nat");
    assert_eq!(status["companion"]["address"], "172.28.0.1:9756");
    assert_eq!(
        (&status["listeners"], &status["exposed"], &status["withheld"]),
        (&2.into(), &1.into(), &1.into())
    );

    let forward = &rig.companion.forwards(8000).unwrap()[0];
    has(
        forward,
        &[
            "distro",
            "protocol",
            "port",
            "listen",
            "target",
            "state",
            "reason",
            "connections",
            "bytes_in",
            "bytes_out",
        ],
    );
    assert_eq!(forward["target"], "172.28.0.2:8000");
    rig.companion.cli(&["status", "--json"]).json::<Value>().unwrap();
}

#[test]
fn tables_are_for_people() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.distro.until_state(8000, "active");

    let list = rig.distro.cli(&["list"]).ok();
    assert!(
        list.contains("8000") && list.contains("python3") && list.contains("192.168.50.1"),
        "{list}"
    );
    let list = rig.companion.cli(&["list"]).ok();
    assert!(list.contains("8000") && list.contains("ubuntu"), "{list}");
    let status = rig.distro.cli(&["status"]).ok();
    assert!(status.contains("172.28.0.1:9756"), "{status}");
}

#[test]
fn another_user_may_look_but_not_reload() {
    const NOBODY: u32 = 65534;
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.distro.until_state(8000, "active");

    for verb in [vec!["status"], vec!["list"], vec!["explain", "8000"]] {
        let ran = rig.distro.cli_as(NOBODY, &verb);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(rig.distro.cli_as(NOBODY, &["reload"]).code, 1);
    assert_eq!(rig.distro.cli_as(NOBODY, &["key"]).code, 1);
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let closed = "import os, subprocess, sys\nr, w = os.pipe(); os.close(r)\n\
                  sys.exit(subprocess.call(sys.argv[1:], stdout=w))";
    for verb in [vec!["list"], vec!["list", "--json"], vec!["status"], vec!["key"]] {
        let line = rig.distro.place.line(&verb);
        let ran = rig
            .distro
            .machine
            .run(&[&[PYTHON, "-c", closed], &line[..]].concat());
        assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
        if verb != ["key"] && verb != ["status"] {
            let line = rig.companion.place.line(&verb);
            let ran = world.windows.run(&[&[PYTHON, "-c", closed], &line[..]].concat());
            assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
        }
    }
}

#[test]
fn explain_says_where_it_stops_and_what_to_do() {
    let world = World::new();
    let mut rig = Rig::connected(&world);
    let machine = &rig.distro.machine;
    rig.distro.reconfigure("opt-out = [\"port=8001\"]\n");
    let _open = web(machine, 8000);
    let _opted_out = web(machine, 8001);
    let _loopback = listen_on(machine, "127.0.0.1", 8002);
    let _holder = listen_on(&world.windows, "::", 8003);
    rig.client.until_open(SOON, WINDOWS, 8003);
    let _conflict = web(machine, 8003);
    let _denied = web(machine, 445);
    rig.distro.until_state(8000, "active");
    rig.distro.until_withheld(8001);
    rig.distro.until_withheld(8002);
    rig.distro.until_state(8003, "conflict");
    rig.distro.until_state(445, "denied");

    let says = |port: &str, words: &[&str]| {
        let ran = rig.distro.cli(&["explain", port]);
        for word in words {
            assert!(
                ran.stdout.contains(word),
                "explain {port} does not say {word}: {ran:?}"
            );
        }
    };
    says("8000", &["python3", "192.168.50.1:8000"]);
    says("8001", &["port=8001", "opted out"]);
    says("8002", &["127.0.0.1", "loopback"]);
    says("8003", &["python3", "8003"]);
    says("445", &["445", "Windows"]);
    says("8009", &["8009"]);

    rig.companion.kill();
    eventually(SOON, || {
        let ran = rig.distro.cli(&["explain", "8000"]);
        if ran.stdout.contains("172.28.0.1:9756") {
            Ok(())
        } else {
            Err(format!("{ran:?}"))
        }
    });
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let world = World::new();
    let rig = Rig::new(&world);
    for (place, machine) in [
        (&rig.distro.place, &rig.distro.machine),
        (&rig.companion.place, &world.windows),
    ] {
        let key = std::path::Path::new(&place.state).join("key");
        let mode = key.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(machine.run(&place.line(&["key"])).code, 0);

        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = machine.run(&place.line(&["key"]));
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("chmod"), "{refused:?}");
        let refused = machine.run(&place.line(&["run"]));
        assert_eq!(refused.code, 1, "{refused:?}");

        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&key, Some(33), None).unwrap();
        let refused = machine.run(&place.line(&["key"]));
        assert_eq!(refused.code, 1, "{refused:?}");
    }
}

#[test]
fn a_key_that_is_none_is_refused() {
    let world = World::new();
    let rig = Rig::new(&world);
    for key in ["", "abc", "AAAA"] {
        let ran = rig.distro.cli(&["trust", key]);
        assert_ne!(ran.code, 0, "{ran:?}");
        let ran = rig.companion.cli(&["trust", "x", key]);
        assert_ne!(ran.code, 0, "{ran:?}");
    }
}

#[test]
fn the_run_directories_need_not_be_there() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    for run_dir in [&rig.companion.place.run, &rig.distro.place.run] {
        std::fs::remove_dir(run_dir).unwrap();
    }

    rig.companion.start();
    rig.distro.start_connected();

    assert_eq!(rig.companion.cli(&["status"]).code, 0);
}

#[test]
fn outside_of_wsl_the_networking_mode_must_be_said() {
    let world = World::new();
    let rig = Rig::new(&world);
    rig.distro.place.configure("");

    let ran = rig.distro.cli(&["run"]);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("network-mode"), "{ran:?}");
}

#[test]
fn a_daemon_does_not_start_with_a_bad_config() {
    let world = World::new();
    let rig = Rig::new(&world);
    rig.distro.configure("opt-out = [\"colour=red\"]\n");

    let ran = rig.distro.cli(&["run"]);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("colour"), "{ran:?}");
}

#[test]
fn the_companion_may_be_named_on_the_command_line() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    world.windows.net.ip("addr add 172.28.0.5/20 dev vwsl0");
    rig.companion.start_on("172.28.0.5");
    rig.distro.start_with(&["--companion", "172.28.0.5:9756"]);
    rig.distro.until_connected();

    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);
    rig.distro.stop();
    rig.client.until_closed(A_SECOND, WINDOWS, 8000);
}

#[track_caller]
fn has(object: &Value, fields: &[&str]) {
    for field in fields {
        assert!(object.get(field).is_some(), "no {field} in {object}");
    }
}
