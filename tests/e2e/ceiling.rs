//! Windows' own word while the companion runs: a policy that changes, and the clients that it serves.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::bench::{
    CONTROL_PORT, Client, Companion, Program, Rig, SOON, WINDOWS, World, check, eventually, guest, listen_on,
    web,
};

#[test]
fn a_changed_policy_is_followed_and_a_bad_one_is_not() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.companion.place.configure("reach = \"host\"\n");
    rig.client.until_closed(SOON, WINDOWS, 8000);

    rig.companion.place.configure("reach = \"everywhere\"\n");
    eventually(SOON, || {
        let error = config_error(&rig.companion)?;
        check(error.contains("everywhere") && error.contains(":1:9"), || error)
    });
    assert!(
        rig.client.connect(WINDOWS, 8000).is_err(),
        "a bad file opens nothing"
    );

    rig.companion.place.configure("");
    rig.client.until_open(SOON, WINDOWS, 8000);
    assert_eq!(config_error(&rig.companion), Ok(String::new()));
}

#[test]
fn an_interface_that_is_excluded_loses_its_live_connections() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _echo = echo(&rig);
    let mut stream = talk(&rig);

    rig.companion
        .place
        .configure("exclude-interfaces = [\"vlan*\"]\n");

    assert!(ends(&mut stream), "the connection goes on");
    rig.client.until_closed(SOON, WINDOWS, 8000);
}

#[test]
fn clients_from_behind_a_router_are_not_served_unless_they_may_be() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _echo = echo(&rig);
    drop(talk(&rig));
    // From now on the client's connections come from an address in none of Windows' networks.
    rig.client.net.ip("addr add 10.99.0.9/32 dev lo");
    rig.client
        .net
        .ip("route replace 192.168.50.0/24 dev eth0 src 10.99.0.9");
    world.windows.net.ip("route add 10.99.0.9/32 via 192.168.50.2");

    // The reset may come before `connect` returns.
    let refused = rig.client.connect(WINDOWS, 8000);
    assert!(
        refused.map_or(true, |mut stream| ends(&mut stream)),
        "a stranger was served"
    );
    eventually(SOON, || {
        let forward = rig.companion.forwards(8000)?.remove(0);
        let reason = forward["reason"].as_str().unwrap_or_default().to_owned();
        check(reason.contains("clients = \"any\""), || forward.to_string())
    });

    rig.companion.place.configure("clients = \"any\"\n");
    eventually(SOON, || {
        let mut stream = rig
            .client
            .connect(WINDOWS, 8000)
            .map_err(|error| error.to_string())?;
        stream.write_all(b"hello").map_err(|error| error.to_string())?;
        stream.read_exact(&mut [0; 5]).map_err(|error| error.to_string())
    });
}

#[test]
fn a_companion_that_cannot_listen_says_why_and_does_as_soon_as_it_can() {
    let world = World::new();
    let companion = Companion::new(&world);
    let squatter = listen_on(&world.windows, "127.0.0.1", CONTROL_PORT);
    Client::new(world.windows.net.clone()).until_open(SOON, "127.0.0.1", CONTROL_PORT);
    let _program = world.windows.spawn("companion", &companion.place.line(&["run"]));

    eventually(SOON, || {
        let ran = companion.cli(&["status"]);
        check(
            ran.code == 1 && ran.stderr.contains("127.0.0.1:9756 is held by python3"),
            || format!("{ran:?}"),
        )
    });
    drop(squatter);
    eventually(SOON, || companion.list().map(drop));
}

#[test]
fn the_control_port_moves_with_its_line_in_the_file() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    world.windows.net.ip("addr add 172.28.0.9/20 dev vwsl0");
    rig.companion.place.configure("listen = \"172.28.0.9:9756\"\n");
    let _program = world
        .windows
        .spawn("companion", &rig.companion.place.line(&["run"]));
    rig.distro.start_with(&["--companion", "172.28.0.1:9756"]);
    let _web = web(&rig.distro.machine, 8000);
    rig.distro.until_state(8000, "pending");

    rig.companion.place.configure("listen = \"172.28.0.1:9756\"\n");

    rig.distro.until_state(8000, "active");
    rig.client.until_open(SOON, WINDOWS, 8000);
}

/// A service on port 8000 that gives back what it gets, to many clients.
fn echo(rig: &Rig<'_>) -> Program {
    let script = "import threading\ns = listener(8000)\ndef one(c):\n  while (part := c.recv(100)): c.sendall(part)\n\
                  while True: threading.Thread(target=one, args=(s.accept()[0],), daemon=True).start()\n";
    let program = guest(&rig.distro.machine, "echo", script);
    rig.distro.until_state(8000, "active");
    program
}

/// A connection of the client that has been answered.
fn talk(rig: &Rig<'_>) -> TcpStream {
    let mut stream = rig.client.connect(WINDOWS, 8000).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    stream
}

fn ends(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

fn config_error(companion: &Companion<'_>) -> Result<String, String> {
    let status: serde_json::Value = companion.cli(&["status", "--json"]).json()?;
    Ok(status["config_error"].as_str().unwrap_or_default().to_owned())
}
