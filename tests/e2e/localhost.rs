//! Windows' own 127.0.0.1: WSL's where WSL forwards, the companion's where WSL leaves a gap, and never fought over. WSL's localhost
//! forwarding (`wslrelay.exe`) is stood in for by a program that listens there as it does.

use std::io::{Read, Write};

use crate::bench::{
    A_SECOND, Client, PYTHON, Program, Rig, SOON, WINDOWS, World, check, eventually, guest, stays, udp_echo,
    web,
};

const LOCALHOST: &str = "127.0.0.1";
/// A listener for both families, as Node.js makes it.
const DUAL: &str = "serve(listener(8000, '::', only_v6=0), b'from the VM')";

#[test]
fn a_dual_stack_listener_is_reached_at_windows_own_loopback() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let windows = windows(&world);
    let listener = guest(
        &rig.distro.machine,
        "dual",
        "s = listener(8000, '::', only_v6=0)\n\
         while True:\n    c, peer = s.accept(); c.sendall(peer[0].encode()); c.close()\n",
    );

    windows.until_open(SOON, LOCALHOST, 8000);

    // It arrives in the VM as all clients do, and not as a local one.
    assert_eq!(windows.ask(LOCALHOST, 8000, "").unwrap(), "::ffff:172.28.0.1");
    assert_eq!(rig.client.ask(WINDOWS, 8000, "").unwrap(), "::ffff:172.28.0.1");
    let row = rig.distro.until_state(8000, "active");
    assert!(row["windows"].to_string().contains("127.0.0.1:8000"), "{row}");
    let line = rig.distro.cli(&["status"]).ok();
    assert!(line.contains(WINDOWS), "{line}");

    listener.kill();
    windows.until_closed(SOON, LOCALHOST, 8000);
    rig.client.until_closed(SOON, WINDOWS, 8000);
}

#[test]
fn what_wsl_forwards_is_left_to_it() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let windows = windows(&world);
    let _v4 = web(&rig.distro.machine, 8000);
    // Two sockets on one port, as nginx makes them: WSL has the one for IPv4.
    let _pair = guest(
        &rig.distro.machine,
        "pair",
        "v4 = listener(8001); v6 = listener(8001, '::', only_v6=1); signal.pause()",
    );
    for port in [8000, 8001] {
        rig.client.until_open(SOON, WINDOWS, port);
    }

    stays(A_SECOND, || {
        let open = windows.open_among(LOCALHOST, &[8000, 8001]);
        check(open.is_empty(), || format!("open: {open:?}"))
    });
    let _wsl = wsl(&world);
    windows.until_open(SOON, LOCALHOST, 8000);
}

#[test]
fn whoever_was_first_on_loopback_keeps_it_until_he_goes() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let windows = windows(&world);
    let first = wsl(&world);
    windows.until_open(SOON, LOCALHOST, 8000);

    let _dual = guest(&rig.distro.machine, "dual", DUAL);
    rig.client.until_open(SOON, WINDOWS, 8000);

    let row = rig.distro.until(SOON * 2, 8000, |row| {
        let reason = row["reason"].as_str().unwrap_or_default();
        reason.contains("127.0.0.1:8000 of Windows itself was taken by python3")
    });
    assert_eq!(row["state"], "active", "{row}");
    assert!(row["reason"].to_string().contains("172.28.0.2:8000"), "{row}");
    assert_eq!(windows.ask(LOCALHOST, 8000, "").unwrap(), "from WSL");

    first.kill();
    eventually(SOON, || match windows.ask(LOCALHOST, 8000, "") {
        Ok(answer) if answer == "from the VM" => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn wsl_finds_the_port_free_when_its_turn_comes() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let windows = windows(&world);
    let _dual = guest(
        &rig.distro.machine,
        "dual",
        "s = listener(8000, '::', reuse_port=True, only_v6=0)\n\
         all = []\n\
         while True:\n    c, _ = s.accept(); c.sendall(b'hello'); all.append(c)\n",
    );
    windows.until_open(SOON, LOCALHOST, 8000);
    let mut stream = windows.connect(LOCALHOST, 8000).unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();

    // Now WSL would forward the port: within a second it looks, tries, and never tries again.
    let v4 = guest(
        &rig.distro.machine,
        "v4",
        "serve(listener(8000, reuse_port=True), b'from the VM')",
    );
    windows.until_closed(A_SECOND, LOCALHOST, 8000);
    // On Windows a living connection would keep the port from everybody.
    assert!(
        stream
            .read_exact(&mut [0])
            .is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    );
    let wsl = wsl(&world);
    windows.until_open(SOON, LOCALHOST, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);
    stays(A_SECOND, || match windows.ask(LOCALHOST, 8000, "") {
        Ok(answer) if answer == "from WSL" => Ok(()),
        other => Err(format!("{other:?}")),
    });

    // And back.
    v4.kill();
    wsl.kill();
    windows.until_open(SOON, LOCALHOST, 8000);
}

#[test]
fn connections_on_loopback_end_with_their_listener() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let windows = windows(&world);
    // As `nc -l`: it closes its listener and goes on talking.
    let _nc = guest(
        &rig.distro.machine,
        "nc",
        "s = listener(8000, '::', only_v6=0)\n\
         a, _ = s.accept(); a.sendall(b'hello'); b, _ = s.accept(); s.close(); b.sendall(b'hello')\n\
         signal.pause()\n",
    );
    rig.distro.until(SOON, 8000, |row| {
        row["windows"].to_string().contains("127.0.0.1:8000")
    });
    let greeted = |client: &Client, address: &str| {
        let mut stream = client.connect(address, 8000).unwrap();
        // Whoever connects next must come second.
        stream.read_exact(&mut [0; 5]).unwrap();
        stream
    };
    let mut local = greeted(&windows, LOCALHOST);
    let mut remote = greeted(rig.client, WINDOWS);
    remote.set_read_timeout(Some(A_SECOND)).unwrap();

    windows.until_closed(SOON, LOCALHOST, 8000);

    let ended = local.read_exact(&mut [0]).unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);
    let lives = remote.read_exact(&mut [0]).unwrap_err();
    assert_eq!(
        lives.kind(),
        std::io::ErrorKind::WouldBlock,
        "WSL does not want this one"
    );
    remote.write_all(b"still here").unwrap();
}

#[test]
fn reach_host_is_windows_alone_at_any_port_and_over_udp() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let windows = windows(&world);
    rig.distro.reconfigure(concat!(
        "[[rule]]\nwhen = \"port=8000\"\nlisten-port = 9000\nreach = \"host\"\n",
        "[[rule]]\nwhen = \"port=5000\"\nudp = true\nreach = \"host\"\n",
    ));
    let _web = web(&rig.distro.machine, 8000);
    let _echo = udp_echo(&rig.distro.machine, "echo", 5000);

    eventually(SOON, || {
        let page = windows.fetch(LOCALHOST, 9000, "/");
        check(page.is_ok(), || format!("{page:?}"))?;
        let answer = windows.ask_udp(LOCALHOST, 5000, b"hello");
        check(
            answer.as_deref().is_ok_and(|answer| answer == b"echo:hello"),
            || format!("{answer:?}"),
        )
    });

    assert!(rig.client.open_among(WINDOWS, &[8000, 9000]).is_empty());
    assert!(rig.client.ask_udp(WINDOWS, 5000, b"hello").is_err());
    for port in [8000, 5000] {
        rig.distro.until_state(port, "active");
    }
}

#[test]
fn local_programs_have_one_door_and_nobody_else_has_it() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let windows = windows(&world);
    let _dual = guest(&rig.distro.machine, "dual", DUAL);
    windows.until_open(SOON, LOCALHOST, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);
    let ask = |from: &str, at: &str| {
        let script = format!(
            "import socket\ns = socket.socket(); s.bind(('{from}', 0)); s.settimeout(10)\n\
             try: s.connect(('{at}', 8000)); print(s.recv(100).decode())\n\
             except ConnectionResetError: print('reset')\n"
        );
        let ran = world.windows.run(&[PYTHON, "-c", &script]);
        ran.ok().trim().to_owned()
    };

    assert_eq!(ask(LOCALHOST, LOCALHOST), "from the VM");
    assert_eq!(ask(WINDOWS, WINDOWS), "from the VM");
    assert_eq!(ask(LOCALHOST, WINDOWS), "reset");
    assert_eq!(ask(WINDOWS, LOCALHOST), "reset");
}

#[test]
fn windows_can_keep_its_loopback_to_itself() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let windows = windows(&world);
    let _dual = guest(&rig.distro.machine, "dual", DUAL);
    windows.until_open(SOON, LOCALHOST, 8000);

    rig.companion.place.configure("exclude-interfaces = [\"lo\"]\n");

    windows.until_closed(SOON, LOCALHOST, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);
}

/// A program of Windows.
fn windows(world: &World) -> Client {
    Client::new(world.windows.net.clone())
}

/// Stands in for WSL's forwarding of port 8000.
fn wsl(world: &World) -> Program {
    guest(
        &world.windows,
        "wslrelay",
        "serve(listener(8000, '127.0.0.1'), b'from WSL')",
    )
}
