//! What breaks: ports that others hold, programs that die, keys that do not fit, a Windows that says no.

use std::io::{Read, Write};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::bench::{
    A_SECOND, Companion, Distro, Rig, SOON, WINDOWS, WINDOWS6, World, check, eventually, guest, listen_on,
    stays, web,
};

#[test]
fn a_port_that_windows_holds_is_a_conflict_until_it_is_free() {
    for address in ["::", WINDOWS] {
        let world = World::new();
        let rig = Rig::connected(&world);
        let holder = listen_on(&world.windows, address, 8000);
        rig.client.until_open(SOON, WINDOWS, 8000);
        let ours = guest(
            &rig.distro.machine,
            "ours",
            "serve(listener(8000), b'from the distro')",
        );

        // On the wildcard it holds every address; on one, the others work.
        let pid = format!("pid {}", holder.inner_pid());
        rig.distro.until(SOON, 8000, |listener| {
            let reason = listener["reason"].as_str().unwrap_or_default();
            let state = if address == "::" { "conflict" } else { "active" };
            listener["state"] == state && reason.contains("python3") && reason.contains(&pid)
        });
        // The holder keeps its traffic.
        assert!(
            rig.client
                .fetch(WINDOWS, 8000, "/")
                .unwrap()
                .contains("Directory")
        );

        holder.kill();
        rig.distro.until(A_SECOND, 8000, |listener| {
            let all = listener["windows"].as_array();
            all.is_some_and(|all| all.contains(&"192.168.50.1:8000".into()))
        });
        assert_eq!(rig.client.ask(WINDOWS, 8000, "").unwrap(), "from the distro");

        ours.kill();
        rig.client.until_closed(SOON, WINDOWS, 8000);
    }
}

#[test]
fn a_daemon_that_stops_says_goodbye() {
    let world = World::new();
    let mut rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.distro.stop();

    rig.client.until_closed(Duration::from_secs(1), WINDOWS, 8000);
    assert!(rig.companion.list().unwrap().is_empty());
}

#[test]
fn a_killed_daemon_loses_its_ports_after_the_grace() {
    let world = World::new();
    let mut rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.distro.kill();

    // Three seconds of grace, and the lease would be fifteen.
    rig.client.until_closed(Duration::from_secs(8), WINDOWS, 8000);
}

#[test]
fn a_daemon_that_hangs_loses_its_ports_with_its_lease() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.distro.signal(Signal::SIGSTOP);
    rig.client.until_closed(Duration::from_secs(20), WINDOWS, 8000);

    rig.distro.signal(Signal::SIGCONT);
    rig.client.until_open(SOON, WINDOWS, 8000);
}

#[test]
fn a_daemon_restarted_within_the_grace_keeps_ports_and_connections() {
    let world = World::new();
    let mut rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8001);
    let _echo = guest(
        &rig.distro.machine,
        "echo",
        "s = listener(8000)\nc, _ = s.accept()\nwhile (part := c.recv(100)): c.sendall(part)\n",
    );
    rig.client.until_open(SOON, WINDOWS, 8001);
    rig.distro.until_state(8000, "active");
    let mut stream = rig.client.connect(WINDOWS, 8000).unwrap();
    let mut talk = |word: &[u8]| {
        stream.write_all(word).unwrap();
        let mut answer = vec![0; word.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, word);
    };
    talk(b"before");

    rig.distro.kill();
    rig.distro.start_connected();

    talk(b"after");
    stays(Duration::from_secs(5), || {
        let open = rig.client.open_among(WINDOWS, &[8001]);
        check(!open.is_empty(), || "closed".to_owned())
    });
    talk(b"later");
}

#[test]
fn a_killed_companion_comes_back_with_everything_and_nothing_stale() {
    let world = World::new();
    let mut rig = Rig::connected(&world);
    let gone = web(&rig.distro.machine, 8000);
    let _stays = web(&rig.distro.machine, 8001);
    rig.client.until_open(SOON, WINDOWS, 8000);
    rig.client.until_open(SOON, WINDOWS, 8001);

    rig.companion.kill();
    rig.client.until_closed(A_SECOND, WINDOWS, 8001);
    gone.kill();
    rig.companion.start();

    rig.client.until_open(A_SECOND, WINDOWS, 8001);
    assert_eq!(rig.client.open_among(WINDOWS, &[8000, 8001]), [8001].into());
}

#[test]
fn a_companion_that_stops_closes_its_ports() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.companion.program().signal(Signal::SIGTERM);

    rig.client.until_closed(A_SECOND, WINDOWS, 8000);
    eventually(SOON, || {
        let status = rig.distro.status()?;
        check(status["companion"]["state"] != "connected", || status.to_string())
    });
}

/// Starts both and sees that nothing opens and that the status says why.
fn refused(world: &World, companion: &mut Companion<'_>, distro: &mut Distro, why: &[&str]) {
    companion.start();
    distro.start();
    let _web = web(&distro.machine, 8000);
    let listener = distro.until(SOON, 8000, |listener| listener["state"] != "active");
    assert!(
        !listener["reason"].as_str().unwrap_or_default().is_empty(),
        "{listener}"
    );

    eventually(SOON, || {
        let seen = distro.cli(&["status"]).stdout;
        check(why.iter().all(|word| seen.contains(word)), || {
            format!("status does not say {why:?}: {seen}")
        })
    });
    stays(A_SECOND, || {
        let open = world.client.open_among(WINDOWS, &[8000]);
        check(open.is_empty(), || "open without trust".to_owned())
    });
    assert_ne!(distro.status().unwrap()["companion"]["state"], "connected");
}

#[test]
fn a_distro_that_windows_does_not_trust_opens_nothing() {
    let world = World::new();
    let (mut companion, mut distro) = (Companion::new(&world), Distro::new(&world, "ubuntu"));
    distro.cli(&["trust", &companion.key()]).ok();

    refused(&world, &mut companion, &mut distro, &["wslnet-companion trust"]);
}

#[test]
fn a_distro_that_trusts_nobody_opens_nothing() {
    let world = World::new();
    let (mut companion, mut distro) = (Companion::new(&world), Distro::new(&world, "ubuntu"));
    companion.trust("ubuntu", &distro.key());

    refused(&world, &mut companion, &mut distro, &["wslnetd trust"]);
}

#[test]
fn a_companion_with_the_wrong_key_is_not_told_anything() {
    let world = World::new();
    let (mut companion, mut distro) = (Companion::new(&world), Distro::new(&world, "ubuntu"));
    companion.trust("ubuntu", &distro.key());
    let stranger = Distro::new(&world, "stranger");
    distro.cli(&["trust", &stranger.key()]).ok();

    refused(&world, &mut companion, &mut distro, &["key"]);
    assert!(companion.list().unwrap().is_empty());
}

#[test]
fn a_distro_that_is_no_longer_trusted_is_cut_off() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.companion.cli(&["untrust", "ubuntu"]).ok();

    rig.client.until_closed(SOON, WINDOWS, 8000);
}

#[test]
fn windows_has_the_last_word() {
    let ports = [8000, 8001, 445];
    let cases: [(&str, &[u16], &[u16], u16); 4] = [
        ("reach = \"host\"\n", &[], &[], 8000),
        ("ports = [\"1-7999\", \"8001-65535\"]\n", &[8001], &[8001], 8000),
        ("exclude-interfaces = [\"vlan0\"]\n", &[], &[], 8000),
        ("ports = [\"1-65535\"]\n", &[8000, 8001], &[8000, 8001], 445),
    ];
    for (policy, open, open6, denied) in cases {
        let world = World::new();
        let mut rig = Rig::new(&world);
        rig.companion.place.configure(policy);
        rig.companion.start();
        rig.distro.start_connected();
        let _all: Vec<_> = ports.iter().map(|port| web(&rig.distro.machine, *port)).collect();
        let seen = rig.distro.until(SOON, denied, |one| {
            !one["reason"].as_str().unwrap_or_default().is_empty()
        });
        eventually(SOON, || {
            let now = rig.client.open_among(WINDOWS, &ports);
            check(now == open.iter().copied().collect(), || {
                format!("{policy}: open {now:?}; {seen}")
            })?;
            let now = rig.client.open_among(WINDOWS6, &ports);
            check(now == open6.iter().copied().collect(), || {
                format!("{policy}: open {now:?} by IPv6; {seen}")
            })
        });
        let windows = rig.distro.listeners(denied).unwrap()[0]["windows"].clone();
        assert_eq!(windows.as_array().map(Vec::len), Some(0), "{policy}: {windows}");
    }
}

#[test]
fn what_is_over_the_limit_says_so() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    rig.companion.place.configure("max-forwards = 2\n");
    rig.companion.start();
    rig.distro.start_connected();
    let open = |port| {
        let program = web(&rig.distro.machine, port);
        rig.distro.until_state(port, "active");
        program
    };
    let mut all = vec![open(8000), open(8001)];

    // What is open stays open, although the port of the newcomer is lower.
    let _late = web(&rig.distro.machine, 7000);
    let over = rig.distro.until_state(7000, "over-limit");
    assert!(
        over["reason"].as_str().unwrap().contains("max-forwards"),
        "{over}"
    );
    rig.client.until_open(SOON, WINDOWS, 8000);
    rig.client.until_open(SOON, WINDOWS, 8001);
    assert_eq!(
        rig.client.open_among(WINDOWS, &[7000, 8000, 8001]),
        [8000, 8001].into()
    );

    drop(all.remove(0));
    rig.client.until_open(SOON, WINDOWS, 7000);
}
