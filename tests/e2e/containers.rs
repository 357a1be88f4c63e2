//! Containers: real engines publish ports, and Windows gets them as the containers' own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{
    A_SECOND, Client, Engine, IMAGE, Machine, PYTHON, Rig, SOON, VM, WINDOWS, World, check, eventually,
    guest, stays, web,
};

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
    until_page(&Client::new(world.windows.net.clone()), VM, 8080, "shop");

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
    until_page(&Client::new(world.windows.net.clone()), VM, 8081, "till");

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

#[test]
fn a_port_that_dockers_proxy_holds_is_exposed_as_the_containers() {
    exposed_as_the_containers(|world, machine| Engine::docker(world, machine, &[]));
}

#[test]
fn a_port_that_docker_leaves_to_the_kernel_is_exposed_as_the_containers() {
    exposed_as_the_containers(docker_without_proxy);
}

#[test]
fn a_port_of_podman_is_exposed_as_the_containers() {
    exposed_as_the_containers(Engine::podman);
}

fn exposed_as_the_containers(start: impl Fn(&World, &Machine) -> Engine) {
    let world = World::new();
    let rig = Rig::connected(&world);
    let machine = &rig.distro.machine;
    let engine = start(&world, machine);

    engine.web(machine, "shop", &["--label=team=blue", "--publish=8080:80"]);

    until_page(rig.client, WINDOWS, 8080, "shop");
    let listeners = rig.distro.listeners(8080).unwrap();
    assert!(!listeners.is_empty());
    for listener in listeners {
        let labels = listener["labels"].as_array().unwrap();
        assert!(labels.contains(&json!("container=shop")), "{listener}");
        assert!(labels.contains(&json!("container.label.team=blue")), "{listener}");
        let is_image = |label: &Value| {
            label.as_str().unwrap().starts_with("image=") && label.as_str().unwrap().ends_with(IMAGE)
        };
        assert!(labels.iter().any(is_image), "{listener}");
    }

    engine.stop(machine, "shop");
    rig.client.until_closed(A_SECOND, WINDOWS, 8080);
}

#[test]
fn a_container_that_says_off_is_never_shared_by_dockers_proxy() {
    never_shared(|world, machine| Engine::docker(world, machine, &[]));
}

#[test]
fn a_container_that_says_off_is_never_shared_by_docker_without_proxy() {
    never_shared(docker_without_proxy);
}

#[test]
fn a_container_that_says_off_is_never_shared_by_podman() {
    never_shared(Engine::podman);
}

fn never_shared(start: impl Fn(&World, &Machine) -> Engine) {
    let world = World::new();
    let rig = Rig::connected(&world);
    let machine = &rig.distro.machine;
    let engine = start(&world, machine);
    let start_secret = |name: &str, port: u16| {
        let publish = format!("--publish={port}:80");
        never_open(rig.client, port, || {
            engine.web(machine, name, &["--label=wslnetd=off", &publish]);
            until_page(&Client::new(world.windows.net.clone()), VM, port, name);
            eventually(SOON, || {
                let listeners = rig.distro.listeners(port)?;
                let reasons = listeners
                    .iter()
                    .map(|one| one["reason"].as_str().unwrap_or_default());
                let are_out = reasons.clone().all(|reason| reason.contains("WSLNETD=off"));
                check(are_out && !listeners.is_empty(), || format!("{listeners:?}"))
            });
        });
    };

    // Before anything is known of the engine, and where another one had the port before.
    start_secret("secret", 8080);
    engine.web(machine, "shop", &["--publish=8081:80"]);
    until_page(rig.client, WINDOWS, 8081, "shop");
    engine.stop(machine, "shop");
    rig.client.until_closed(SOON, WINDOWS, 8081);
    start_secret("another", 8081);
}

/// Does something during which a port of Windows is never open, and neither for a second after it.
fn never_open(client: &Client, port: u16, work: impl FnOnce()) {
    /// Also set when the work fails: a watcher that is not told would be waited for.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        scope.spawn(|| {
            let look = || {
                let open = client.open_among(WINDOWS, &[port]);
                check(open.is_empty(), || format!("{port} is open"))
            };
            while !is_over.load(Ordering::Relaxed) {
                look().unwrap();
            }
            stays(Duration::from_secs(1), look);
        });
        work();
        drop(over);
    });
}

#[test]
fn a_container_with_the_network_of_the_host_is_known_too() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let machine = &rig.distro.machine;
    let docker = Engine::docker(&world, machine, &[]);
    let run = |name: &str, label: &str, port: &str| {
        let line = [
            "run",
            "--detach",
            "--network=host",
            "--name",
            name,
            "--label",
            label,
            IMAGE,
            "/bin/httpd",
            "-f",
            "-p",
            port,
        ];
        docker.cli(machine, &line).ok();
    };

    run("secret", "wslnetd=off", "8090");
    run("shop", "team=blue", "8091");

    rig.client.until_open(SOON, WINDOWS, 8091);
    let shop = rig.distro.until_state(8091, "active");
    assert!(
        shop["labels"]
            .as_array()
            .unwrap()
            .contains(&json!("container=shop")),
        "{shop}"
    );
    let reason = rig.distro.until_withheld(8090);
    assert!(reason.contains("WSLNETD=off"), "{reason}");
    assert!(rig.client.open_among(WINDOWS, &[8090]).is_empty());
}

#[test]
fn a_listener_of_dockers_own_is_shared_only_after_it_could_have_been_a_containers() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let machine = &rig.distro.machine;
    let _docker = Engine::docker(&world, machine, &[]);

    // Docker has such ones for a moment at each start of a container.
    let _own = guest(
        machine,
        "own",
        "s = listener(9999); rename(b'dockerd'); serve(s, b'api')",
    );

    let waiting = rig.distro.until_state(9999, "pending");
    assert!(
        waiting["reason"].as_str().unwrap().contains("Docker"),
        "{waiting}"
    );
    stays(Duration::from_secs(5), || {
        check(rig.client.open_among(WINDOWS, &[9999]).is_empty(), || {
            "open".to_owned()
        })
    });
    rig.client.until_open(SOON * 2, WINDOWS, 9999);
}

#[test]
fn an_engine_that_hangs_delays_nobody_else_and_shares_nothing() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let machine = &rig.distro.machine;
    let _engine = guest(
        machine,
        "engine",
        "s = socket.socket(socket.AF_UNIX); s.bind('/run/docker.sock'); s.listen(64)\n\
         while True: held = [s.accept()] + globals().get('held', [])",
    );
    eventually(SOON, || {
        let seen = machine.run(&["test", "-S", "/run/docker.sock"]);
        check(seen.code == 0, || "no engine".to_owned())
    });
    let _proxy = guest(
        machine,
        "proxy",
        "rename(b'docker-proxy'); serve(listener(8080), b'secret')",
    );
    rig.distro.until_state(8080, "pending");

    let _web = web(machine, 8000);
    rig.client.until_open(A_SECOND, WINDOWS, 8000);

    // Longer than the engine is given to answer.
    stays(Duration::from_secs(7), || {
        check(rig.client.open_among(WINDOWS, &[8080]).is_empty(), || {
            "open".to_owned()
        })
    });
    let waiting = rig.distro.until_state(8080, "pending");
    assert!(
        waiting["reason"].as_str().unwrap().contains("Docker"),
        "{waiting}"
    );
    let _more = web(machine, 8001);
    rig.client.until_open(A_SECOND, WINDOWS, 8001);
}

fn docker_without_proxy(world: &World, machine: &Machine) -> Engine {
    Engine::docker(world, machine, &["--userland-proxy=false"])
}

/// Waits until somebody gets the page of a container.
fn until_page(client: &Client, address: &str, port: u16, page: &str) {
    eventually(SOON, || {
        let got = client
            .fetch(address, port, "/")
            .map_err(|error| error.to_string())?;
        check(got.trim() == page, || got.clone())
    });
}
