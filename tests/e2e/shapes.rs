//! Listeners in odd shapes: groups, crowds, heirs, and names that mean harm.

use std::io::{Read, Write};
use std::time::Duration;

use crate::bench::{A_SECOND, PYTHON, Rig, SOON, WINDOWS, World, check, eventually, guest, web};

const WWW_DATA: u32 = 33;

#[test]
fn a_reuse_port_group_is_open_until_its_last_member_goes() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let member = |name: &str| {
        let script = format!("serve(listener(8000, reuse_port=True), b'{name}')");
        guest(&rig.distro.machine, name, &script)
    };

    let first = member("first");
    let second = member("second");
    rig.client.until_open(SOON, WINDOWS, 8000);
    eventually(SOON, || {
        let both = rig.distro.listeners(8000)?;
        check(
            !both.is_empty() && both.iter().all(|one| one["state"] == "active"),
            || format!("{both:?}"),
        )
    });

    first.kill();
    eventually(SOON, || match rig.client.ask(WINDOWS, 8000, "") {
        Ok(answer) if answer == "second" => Ok(()),
        other => Err(format!("{other:?}")),
    });

    second.kill();
    rig.client.until_closed(A_SECOND, WINDOWS, 8000);
}

#[test]
fn three_hundred_listeners_at_once() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let ports: Vec<u16> = (20_000..20_300).collect();
    let session = || {
        rig.companion
            .status()
            .map(|status| status["distros"][0]["session"].clone())
    };
    let before = session();

    let crowd = guest(
        &rig.distro.machine,
        "crowd",
        "all = [listener(p) for p in range(20000, 20300)]\nsignal.pause()",
    );
    // Asked first, because a scan of all of them over and over is a flood that keeps both programs from their work.
    eventually(SOON, || {
        let status = rig.distro.status()?;
        check(status["active"] == 300, || status.to_string())
    });
    assert_eq!(
        rig.client.open_among(WINDOWS, &ports),
        ports.iter().copied().collect()
    );
    assert_eq!(rig.distro.status().unwrap()["exposed"], 300);

    crowd.kill();
    eventually(SOON, || {
        let status = rig.distro.status()?;
        let is_over = status["active"] == 0 && status["companion"]["state"] == "connected";
        check(is_over, || status.to_string())
    });
    assert!(rig.client.open_among(WINDOWS, &ports).is_empty());
    assert_eq!(session(), before, "many changes in a row keep to one connection");
}

#[test]
fn a_child_that_inherited_the_socket_keeps_the_port_open() {
    let world = World::new();
    let rig = Rig::connected(&world);

    let _parent = guest(
        &rig.distro.machine,
        "heir",
        "s = listener(8000)\nif os.fork(): os._exit(0)\nos.setsid(); rename(b'heir'); serve(s, b'from the heir')",
    );
    rig.distro.until(SOON, 8000, |listener| {
        listener["process"] == "heir" && listener["state"] == "active"
    });

    assert_eq!(rig.client.ask(WINDOWS, 8000, "").unwrap(), "from the heir");
    rig.distro.machine.run(&["pkill", "heir"]).ok();
    rig.client.until_closed(A_SECOND, WINDOWS, 8000);
}

#[test]
fn a_port_taken_over_by_another_user_gets_that_users_verdict() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro.reconfigure("opt-out = [\"user=www-data\"]\n");
    let roots = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    roots.kill();
    let line = [PYTHON, "-m", "http.server", "--directory", "/usr", "8000"];
    let theirs = rig.distro.machine.spawn_as(WWW_DATA, "theirs", &line);

    rig.client.until_closed(A_SECOND, WINDOWS, 8000);
    let reason = rig.distro.until_withheld(8000);
    assert!(reason.contains("user=www-data"), "{reason}");
    assert_eq!(rig.distro.listeners(8000).unwrap()[0]["user"], "www-data");

    theirs.kill();
    let _roots = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);
}

#[test]
fn a_listener_that_closes_after_accept_keeps_its_connection() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _nc = guest(
        &rig.distro.machine,
        "nc",
        "s = listener(8000)\nc, _ = s.accept(); s.close()\n\
         while (part := c.recv(100)): c.sendall(part.upper())\n",
    );
    rig.distro.until_state(8000, "active");

    let mut stream = rig.client.connect(WINDOWS, 8000).unwrap();
    let mut talk = |word: &[u8]| {
        stream.write_all(word).unwrap();
        let mut answer = vec![0; word.len()];
        stream.read_exact(&mut answer).unwrap();
        answer
    };
    assert_eq!(talk(b"before"), b"BEFORE");
    rig.client.until_closed(SOON, WINDOWS, 8000);
    assert_eq!(talk(b"after"), b"AFTER");
}

#[test]
fn hostile_process_names_never_reach_a_terminal() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let names: [&str; 5] = [
        r"\x1b[2J\x1b]0;x\x07",
        r"a\nb\tc",
        r"\xff\xfe\x80",
        r"\xe2\x80\xaegnp.exe",
        r"\x9b31m,k=v\x22",
    ];
    let _all: Vec<_> = (8000..)
        .zip(names)
        .map(|(port, name)| {
            let script = format!("rename(b'{name}')\nserve(listener({port}), b'x')");
            guest(&rig.distro.machine, &format!("hostile-{port}"), &script)
        })
        .collect();
    for port in 8000..8005 {
        rig.distro.until_state(port, "active");
    }

    let outputs = [
        rig.distro.cli(&["list"]).ok(),
        rig.distro.cli(&["list", "--json"]).ok(),
        rig.distro.cli(&["status"]).ok(),
        rig.distro.cli(&["explain", "8000"]).ok(),
        rig.companion.cli(&["list"]).ok(),
        rig.companion.cli(&["list", "--json"]).ok(),
        rig.distro.daemon().log(),
        rig.companion.program().log(),
    ];
    for output in outputs {
        let hostile = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!output.contains(hostile), "{output:?}");
    }
    // One line for each listener and its header: a name cannot make another.
    let lines = rig.distro.cli(&["list"]).ok();
    assert_eq!(
        lines.lines().filter(|line| line.contains("800")).count(),
        5,
        "{lines}"
    );
}

#[test]
fn a_listener_that_comes_back_is_exposed_again() {
    let world = World::new();
    let rig = Rig::connected(&world);
    for _ in 0..3 {
        let server = web(&rig.distro.machine, 8000);
        rig.client.until_open(SOON, WINDOWS, 8000);
        assert!(
            rig.client
                .fetch(WINDOWS, 8000, "/")
                .unwrap()
                .contains("Directory")
        );
        server.kill();
        rig.client.until_closed(SOON, WINDOWS, 8000);
    }
}

#[test]
fn a_reuseport_group_outlives_its_first_member_and_can_still_be_cut() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let member = "s = listener(8000, reuse_port=True)\nwhile True:\n  c, _ = s.accept()\n  c.sendall(str(os.getpid()).encode())\n";
    let first = guest(&rig.distro.machine, "first", member);
    let id = rig.distro.until_state(8000, "active")["id"].clone();
    let _second = guest(&rig.distro.machine, "second", member);
    eventually(SOON, || {
        let seen = rig.distro.listeners(8000)?;
        check(
            seen.len() == 2 && seen.iter().all(|one| one["state"] == "active"),
            || format!("{seen:?}"),
        )
    });
    // Connections to both members; the kernel chooses.
    let mut connections = Vec::new();
    eventually(SOON, || {
        let mut stream = rig
            .client
            .connect(WINDOWS, 8000)
            .map_err(|error| error.to_string())?;
        let mut pid = [0; 16];
        let count = stream.read(&mut pid).map_err(|error| error.to_string())?;
        connections.push((pid[..count].to_vec(), stream));
        let members: std::collections::BTreeSet<_> = connections.iter().map(|(pid, _)| pid).collect();
        check(members.len() == 2, || format!("{members:?}"))
    });

    first.kill();
    eventually(SOON, || {
        let seen = rig.distro.listeners(8000)?;
        let alone = seen.len() == 1 && seen[0]["id"] != id && seen[0]["state"] == "active";
        check(alone, || format!("{seen:?}"))
    });
    let living = |stream: &mut std::net::TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        loop {
            match stream.read(&mut [0; 1]).map_err(|error| error.kind()) {
                // A child of the tests has ended.
                Err(std::io::ErrorKind::Interrupted) => {}
                read => break read == Err(std::io::ErrorKind::WouldBlock),
            }
        }
    };
    let survivors = connections
        .iter_mut()
        .filter_map(|(_, stream)| living(stream).then_some(stream));
    let mut survivors: Vec<_> = survivors.collect();
    assert!(!survivors.is_empty(), "the second member's connections were cut");

    rig.distro.reconfigure("opt-out = [\"port=8000\"]\n");
    rig.client.until_closed(SOON, WINDOWS, 8000);
    eventually(SOON, || {
        let left = survivors
            .iter_mut()
            .map(|stream| living(stream))
            .filter(|living| *living)
            .count();
        check(left == 0, || {
            format!("{left} connections to a private service live on")
        })
    });
}
