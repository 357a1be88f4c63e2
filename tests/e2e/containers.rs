//! Containers: real engines publish ports, and Windows gets them as the containers' own.

use serde_json::{Value, json};

use crate::bench::{Client, Engine, PYTHON, Rig, SOON, VM, World, check, eventually};

/// Speaks to `wslnetd containers` as systemd and the daemon do: prints the first report about an engine, and ends with the
/// reader's exit code.
const ASK: &str = r#"
import socket, subprocess, sys
ours, its = socket.socketpair()
reader = subprocess.Popen(sys.argv[2:], stdin=its)
its.close()
ours.sendall(sys.argv[1].encode() + b"\n")
print(ours.makefile().readline())
ours.shutdown(socket.SHUT_RDWR)
sys.exit(reader.wait(20))
"#;

/// The first report of the reader about the system's Docker or Podman.
fn report(rig: &Rig<'_>, kind: &str) -> Value {
    let question = json!({"kind": kind, "uid": 0}).to_string();
    let reader = rig.distro.place.line(&["containers"]);
    let line = [&[PYTHON, "-c", ASK, &question], &reader[..]].concat();
    rig.distro.machine.run(&line).json().unwrap()
}

#[test]
fn the_reader_tells_of_a_real_docker() {
    let world = World::new();
    let rig = Rig::new(&world);
    let machine = &rig.distro.machine;
    let nobody = report(&rig, "docker");
    assert!(nobody["answer"]["absent"].is_string(), "{nobody}");
    let docker = Engine::docker(&world, machine, &[]);
    docker.web(machine, "shop", &["--label=team=blue", "--publish=8080:80"]);
    until_page(&world, 8080, "shop");

    let told = report(&rig, "docker");

    let shop = &told["answer"]["list"]["containers"][0];
    assert_eq!(shop["container"]["name"], "shop", "{told}");
    assert_eq!(shop["container"]["image"], "bench:1");
    assert_eq!(shop["container"]["labels"], json!({"team": "blue"}));
    assert_eq!(
        shop["ports"][0],
        json!({"protocol": "tcp", "ports": [8080, 8080]})
    );
}

#[test]
fn the_reader_tells_of_a_real_podman_and_all_ports_of_a_range() {
    let world = World::new();
    let rig = Rig::new(&world);
    let machine = &rig.distro.machine;
    let podman = Engine::podman(&world, machine);
    let publish = [
        "--label=team=red",
        "--publish=8081:80",
        "--publish=9000-9003:9000-9003",
    ];
    podman.web(machine, "till", &publish);
    until_page(&world, 8081, "till");

    let told = report(&rig, "podman");

    let till = &told["answer"]["list"]["containers"][0];
    assert_eq!(till["container"]["name"], "till", "{told}");
    assert_eq!(till["container"]["labels"], json!({"team": "red"}));
    let mut ports = till["ports"].as_array().unwrap().clone();
    ports.sort_by_key(|published| published["ports"][0].as_u64());
    let expected = [
        json!({"protocol": "tcp", "ports": [8081, 8081]}),
        json!({"protocol": "tcp", "ports": [9000, 9003]}),
    ];
    assert_eq!(ports, expected);
}

/// Waits until the side of Windows gets the page of a container through the VM's network.
fn until_page(world: &World, port: u16, page: &str) {
    let windows = Client::new(world.windows.net.clone());
    eventually(SOON, || {
        let got = windows.fetch(VM, port, "/").map_err(|error| error.to_string())?;
        check(got.trim() == page, || got.clone())
    });
}
