//! Rules: another port, any port, a name, a shorter reach, drop-in files, and what programs say of themselves.

use std::fmt::Write as _;

use crate::bench::{
    A_SECOND, PYTHON, Rig, SOON, WINDOWS, World, check, eventually, guest, listen_on, stays, web,
};

#[test]
fn a_rule_gives_another_port_a_name_and_a_shorter_reach() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro.reconfigure(concat!(
        "[[rule]]\nwhen = \"port=8000\"\nlisten-port = 8888\nname = \"shop\"\n",
        "[[rule]]\nwhen = \"port=8001\"\nreach = \"host\"\n",
    ));
    let _web = web(&rig.distro.machine, 8000);
    let _near = web(&rig.distro.machine, 8001);

    rig.client.until_open(SOON, WINDOWS, 8888);

    assert!(rig.client.open_among(WINDOWS, &[8000, 8001]).is_empty());
    let row = rig.distro.until_state(8000, "active");
    assert_eq!(row["name"], "shop");
    assert!(
        row["windows"]
            .as_array()
            .unwrap()
            .iter()
            .all(|at| { at.as_str().unwrap_or_default().ends_with(":8888") })
    );
    let forward = &rig.companion.forwards(8888).unwrap()[0];
    assert_eq!(forward["name"], "shop");
    let told = rig.distro.cli(&["explain", "8000"]).ok();
    assert!(
        told.contains("the rule for \"port=8000\" at") && told.contains("config.toml:3:8"),
        "{told}"
    );
}

#[test]
fn auto_finds_another_port_where_the_own_one_is_taken_and_keeps_it() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro
        .reconfigure("[[rule]]\nwhen = \"port=8000-8999\"\nlisten-port = \"auto\"\n");
    let holder = listen_on(&world.windows, "0.0.0.0", 8000);
    let windows = crate::bench::Client::new(world.windows.net.clone());
    windows.until_open(SOON, WINDOWS, 8000);
    let _web = guest(
        &rig.distro.machine,
        "web",
        "serve(listener(8000), b'from the distro')",
    );

    let row = rig.distro.until_state(8000, "active");

    let places = row["windows"].to_string();
    assert!(places.contains(&format!("{WINDOWS}:8001")), "{row}");
    let reason = row["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("8000") && reason.contains("python3"), "{reason}");
    assert_eq!(rig.client.ask(WINDOWS, 8001, "").unwrap(), "from the distro");
    let listed = rig.distro.cli(&["list"]).ok();
    assert!(listed.contains(&format!("{WINDOWS}:8001")), "{listed}");

    // An address that people use does not change under them.
    holder.kill();
    stays(A_SECOND, || {
        let open = rig.client.open_among(WINDOWS, &[8000, 8001]);
        check(open == [8001].into(), || format!("open: {open:?}"))
    });
}

#[test]
fn two_distros_with_one_port_both_get_one() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let mut other = rig.another("debian");
    other.configure("[[rule]]\nwhen = \"port=8000\"\nlisten-port = \"auto\"\n");
    other.start_connected();
    rig.distro
        .reconfigure("[[rule]]\nwhen = \"port=7000\"\nlisten-port = 8000\n");
    let _first = guest(&rig.distro.machine, "first", "serve(listener(7000), b'first')");
    rig.client.until_open(SOON, WINDOWS, 8000);
    let _second = guest(&other.machine, "second", "serve(listener(8000), b'second')");

    let row = other.until_state(8000, "active");

    assert!(row["reason"].to_string().contains("ubuntu"), "{row}");
    assert_eq!(rig.client.ask(WINDOWS, 8000, "").unwrap(), "first");
    assert_eq!(rig.client.ask(WINDOWS, 8001, "").unwrap(), "second");
}

#[test]
fn a_port_that_moves_to_another_distro_takes_its_forward_along() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let mut other = rig.another("debian");
    other.start_connected();
    let here = guest(&rig.distro.machine, "here", "serve(listener(8000), b'here')");
    rig.client.until_open(SOON, WINDOWS, 8000);
    assert_eq!(rig.client.ask(WINDOWS, 8000, "").unwrap(), "here");

    here.kill();
    let _there = guest(&other.machine, "there", "serve(listener(8000), b'there')");

    eventually(SOON, || {
        let answer = rig
            .client
            .ask(WINDOWS, 8000, "")
            .map_err(|error| error.to_string())?;
        check(answer == "there", || answer.clone())
    });
    eventually(SOON, || {
        let forwards = rig.companion.forwards(8000)?;
        let owners: Vec<_> = forwards.iter().map(|forward| &forward["distro"]).collect();
        check(owners == ["debian"], || format!("{owners:?}"))
    });
}

#[test]
fn a_program_speaks_for_itself() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let start = |says: &str, port: &str| {
        let says = format!("WSLNETD={says}");
        let line = [
            "/usr/bin/env",
            &says,
            PYTHON,
            "-m",
            "http.server",
            "--directory",
            "/usr",
            port,
        ];
        rig.distro.machine.spawn(&format!("web-{port}"), &line)
    };
    let _off = start("off", "8000");
    let _host = start("host", "8001");
    let _named = start("lan,name=shop", "8002");
    let _odd = start("on please", "8003");

    rig.client.until_open(SOON, WINDOWS, 8002);

    assert!(rig.distro.until_withheld(8000).contains("WSLNETD=off"));
    assert!(rig.distro.until_withheld(8003).contains("WSLNETD=on please"));
    assert_eq!(rig.distro.until_state(8002, "active")["name"], "shop");
    rig.distro.until_state(8001, "active");
    assert_eq!(
        rig.client.open_among(WINDOWS, &[8000, 8001, 8002, 8003]),
        [8002].into()
    );
}

#[test]
fn what_says_off_is_not_on_the_network_for_a_moment() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _open = web(&rig.distro.machine, 7999);
    rig.client.until_open(SOON, WINDOWS, 7999);

    for port in 8000..8010_u16 {
        let port = port.to_string();
        let _off = rig.distro.machine.spawn(
            &format!("off-{port}"),
            &[
                "/usr/bin/env",
                "WSLNETD=off",
                PYTHON,
                "-m",
                "http.server",
                "--directory",
                "/usr",
                &port,
            ],
        );
        rig.distro.until_withheld(port.parse().unwrap());
    }

    let log = rig.companion.program().log();
    assert!(
        log.contains("7999") && !(8000..8010).any(|port: u16| log.contains(&format!(":{port}"))),
        "{log}"
    );
}

#[test]
fn drop_in_files_add_rules_and_their_mistakes_have_their_names() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    let _other = web(&rig.distro.machine, 8001);
    rig.client.until_open(SOON, WINDOWS, 8000);
    rig.client.until_open(SOON, WINDOWS, 8001);
    rig.distro
        .place
        .drop_in("10-team.toml", "opt-out = [\"port=8000\"]\n");
    rig.distro.cli(&["reload"]).ok();

    rig.client.until_closed(SOON, WINDOWS, 8000);

    assert!(rig.distro.until_withheld(8000).contains("10-team.toml:1"));
    rig.distro
        .place
        .drop_in("20-bad.toml", "[[rule]]\nwhen = \"prot=1\"\n");
    let refused = rig.distro.cli(&["reload"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("20-bad.toml:2"), "{refused:?}");
    let checked = rig.distro.cli(&["check"]);
    assert!(checked.stderr.contains("20-bad.toml:2"), "{checked:?}");
    assert_eq!(rig.client.open_among(WINDOWS, &[8000, 8001]), [8001].into());
}

#[test]
fn labels_can_be_pasted_into_the_configuration() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    let _odd = guest(
        &rig.distro.machine,
        "odd",
        "rename(b'a,b [*] \\x1b]')\nserve(listener(8001), b'x')",
    );
    rig.client.until_open(SOON, WINDOWS, 8000);
    rig.client.until_open(SOON, WINDOWS, 8001);

    for port in [8000_u16, 8001] {
        let labels = rig.distro.cli(&["labels", &port.to_string()]).ok();
        let own: Vec<&str> = labels.lines().filter(|line| !line.contains("port=")).collect();
        assert!(own.iter().any(|line| line.starts_with("\"process=")), "{labels}");
        for term in own {
            // The port alone is what tells the two apart; every other term must match its listener.
            let joined = term.replacen('"', &format!("\"port={port},"), 1);
            rig.distro.reconfigure(&format!("opt-out = [{joined}]\n"));
            let reason = rig.distro.until_withheld(port);
            assert!(reason.starts_with("opted out by"), "{term}: {reason}");
        }
        rig.distro.reconfigure("");
    }
    let listed = rig.distro.cli(&["list", "--labels"]).ok();
    assert!(
        listed.contains("    process=python3") && !listed.contains('\u{1b}'),
        "{listed}"
    );
}

#[test]
fn two_hundred_rules_decide_by_the_first_that_matches() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let mut text = String::new();
    for number in 0..200_u16 {
        let port = 8000 + number;
        writeln!(
            text,
            "[[rule]]\nwhen = \"port={port}\"\nlisten-port = {}",
            10_000 + number
        )
        .unwrap();
    }
    text.push_str("[[rule]]\nwhen = \"port=8199\"\nexpose = false\n");
    rig.distro.reconfigure(&text);
    let _first = web(&rig.distro.machine, 8000);
    let _last = web(&rig.distro.machine, 8199);

    rig.client.until_open(SOON, WINDOWS, 10_000);
    rig.client.until_open(SOON, WINDOWS, 10_199);

    assert!(rig.client.open_among(WINDOWS, &[8000, 8199]).is_empty());
}
