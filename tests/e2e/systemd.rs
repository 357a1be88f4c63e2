//! The daemon as a unit of a real systemd.

mod doctor;
pub(crate) mod install;
mod staging;
mod units;

use std::time::Duration;

use crate::bench::{A_SECOND, Companion, SOON, SystemdDistro, WINDOWS, World, check, eventually};

const CONFIG: &str = "network-mode = \"nat\"\n";
const WEB: [&str; 5] = [
    "/usr/bin/python3",
    "-m",
    "http.server",
    "--directory=/usr",
    "8000",
];

/// A distro under systemd that a running companion trusts; the unit is not started.
pub(crate) fn paired(world: &World) -> (Companion<'_>, SystemdDistro) {
    let mut companion = Companion::new(world);
    let distro = SystemdDistro::boot(world, CONFIG);
    companion.trust("ubuntu", distro.run(&["wslnetd", "key"]).ok().trim());
    distro.run(&["wslnetd", "trust", &companion.key()]).ok();
    companion.start();
    (companion, distro)
}

#[test]
fn the_unit_does_the_main_job_and_says_so_in_one_line() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    distro.start("web", &WEB);
    distro.start(
        "private",
        &[
            "/usr/bin/python3",
            "-m",
            "http.server",
            "--bind=127.0.0.1",
            "8001",
        ],
    );

    distro.systemctl(&["start", "wslnetd.service"]).ok();

    world.client.until_open(SOON, WINDOWS, 8000);
    assert!(
        world
            .client
            .fetch(WINDOWS, 8000, "/")
            .unwrap()
            .contains("Directory listing")
    );
    eventually(SOON, || {
        let shown = distro.systemctl(&["status", "wslnetd.service"]).stdout;
        let line = shown
            .lines()
            .find(|line| line.trim_start().starts_with("Status:"));
        let line = line.unwrap_or_default();
        let words = [
            "listeners",
            "exposed on 192.168.50.1",
            "private",
            "172.28.0.1:9756 connected",
        ];
        check(words.iter().all(|word| line.contains(word)), || shown.clone())
    });
    assert_eq!(distro.status().unwrap()["companion"]["state"], "connected");
    // The journal names the processes, which takes both capabilities.
    let list: Vec<serde_json::Value> = distro.run(&["wslnetd", "list", "--json"]).json().unwrap();
    let web = list.iter().find(|one| one["port"] == 8000).unwrap();
    assert_eq!(web["process"], "python3", "{web}");

    distro.systemctl(&["stop", "wslnetd.service"]).ok();
    world.client.until_closed(Duration::from_secs(1), WINDOWS, 8000);
    assert_eq!(distro.property("Result"), "success");
}

#[test]
fn the_unit_is_ready_without_a_companion() {
    let world = World::new();
    let distro = SystemdDistro::boot(&world, CONFIG);

    distro.systemctl(&["start", "wslnetd.service"]).ok();

    assert_eq!(distro.property("ActiveState"), "active");
    assert_eq!(distro.property("NRestarts"), "0");
    eventually(SOON, || {
        let line = distro.property("StatusText");
        check(line.contains("companion"), || line.clone())
    });
}

#[test]
fn systemctl_reload_applies_a_changed_file() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    distro.start("web", &WEB);
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    world.client.until_open(SOON, WINDOWS, 8000);
    let before = distro.property("MainPID");

    distro.write(
        "/etc/wslnetd/config.toml",
        &format!("{CONFIG}opt-out = [\"port=8000\"]\n"),
    );
    distro.systemctl(&["reload", "wslnetd.service"]).ok();
    world.client.until_closed(SOON, WINDOWS, 8000);

    distro.write("/etc/wslnetd/config.toml", "opt-out = [\"prot=8000\"]\n");
    let refused = distro.systemctl(&["reload", "wslnetd.service"]);
    assert_ne!(refused.code, 0, "a bad file was accepted");
    eventually(SOON, || {
        let status = distro.status()?;
        check(status["config_error"].is_string(), || status.to_string())
    });
    assert_eq!(distro.property("ActiveState"), "active");
    assert_eq!(distro.property("MainPID"), before);

    distro.write("/etc/wslnetd/config.toml", CONFIG);
    distro.systemctl(&["reload", "wslnetd.service"]).ok();
    world.client.until_open(SOON, WINDOWS, 8000);
}

#[test]
fn a_file_of_config_d_that_the_unit_cannot_see_is_a_mistake_and_not_nothing() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    distro.write("/home/ann/shop.toml", "opt-out = [\"port=8000\"]\n");
    distro.run(&["mkdir", "-p", "/etc/wslnetd/config.d"]).ok();
    let link = "/etc/wslnetd/config.d/shop.toml";
    distro.run(&["ln", "-s", "/home/ann/shop.toml", link]).ok();

    let refused = distro.systemctl(&["reload", "wslnetd.service"]);

    assert_ne!(refused.code, 0, "{refused:?}");
    let status = distro.status().unwrap();
    let error = status["config_error"].as_str().unwrap_or_default();
    assert!(error.contains("shop.toml") && error.contains("copy"), "{status}");
}

#[test]
fn a_daemon_that_hangs_is_restarted_by_the_watchdog() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    let drop_in = "/etc/systemd/system/wslnetd.service.d/watchdog.conf";
    distro.write(drop_in, "[Service]\nWatchdogSec=1\n");
    distro.systemctl(&["daemon-reload"]).ok();
    distro.start("web", &WEB);
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    world.client.until_open(SOON, WINDOWS, 8000);
    // A daemon that works feeds it: several watchdog times pass without a restart.
    crate::bench::stays(A_SECOND * 2, || {
        let restarts = distro.property("NRestarts");
        check(restarts == "0", || format!("restarted {restarts} times"))
    });
    let before = distro.property("MainPID");

    distro.run(&["kill", "-STOP", &before]).ok();

    eventually(SOON, || {
        let (pid, restarts) = (distro.property("MainPID"), distro.property("NRestarts"));
        let running = pid != before && pid != "0" && restarts != "0";
        check(running, || format!("process {pid}, restarted {restarts} times"))
    });
    eventually(SOON, || {
        let status = distro.status()?;
        check(status["companion"]["state"] == "connected", || status.to_string())
    });
    world.client.until_open(SOON, WINDOWS, 8000);
}

#[test]
fn a_killed_daemon_is_back_before_its_ports_close() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    distro.start("web", &WEB);
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    world.client.until_open(SOON, WINDOWS, 8000);
    let before = distro.property("MainPID");

    distro
        .systemctl(&["kill", "--signal=KILL", "wslnetd.service"])
        .ok();

    crate::bench::stays(Duration::from_secs(5), || {
        let open = world.client.open_among(WINDOWS, &[8000]);
        check(!open.is_empty(), || "closed".to_owned())
    });
    assert_ne!(distro.property("MainPID"), before);
}

#[test]
fn names_are_in_the_distros_hosts_file_by_a_helper_and_the_daemon_itself_may_not_write_it() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    let before = "127.0.0.1\tlocalhost\n127.0.1.1\tdistro\n10.0.0.9 nas.wsl";
    distro.write("/etc/hosts", before);
    distro.run(&["chmod", "0644", "/etc/hosts"]).ok();
    let rule = "[[rule]]\nwhen = \"port=8000\"\nname = \"shop\"\n";
    distro.write(
        "/etc/wslnetd/config.toml",
        &format!("{CONFIG}hosts = true\n{rule}"),
    );
    distro.start("web", &WEB);
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    let says = |word: &str| {
        eventually(SOON, || {
            let status = distro.status()?;
            let hosts = status["hosts"].as_str().unwrap_or_default();
            check(hosts.contains(word), || status.to_string())
        });
    };
    let file = || distro.run(&["cat", "/etc/hosts"]).ok();

    says("systemctl enable --now wslnetd-hosts.socket");
    assert_eq!(file(), before);

    distro
        .systemctl(&["enable", "--now", "wslnetd-hosts.socket"])
        .ok();
    eventually(SOON * 2, || {
        let text = file();
        let lines = [
            "\n172.28.0.1 windows.wsl # wslnet\n",
            "\n172.28.0.2 shop.wsl # wslnet\n",
        ];
        check(
            text.starts_with(before) && lines.iter().all(|line| text.contains(line)),
            || text.clone(),
        )
    });
    says("shop.wsl 172.28.0.2, windows.wsl 172.28.0.1");
    let found = distro.run(&["getent", "hosts", "windows.wsl"]).ok();
    assert!(found.starts_with("172.28.0.1"), "{found}");
    let mode = distro.run(&["stat", "--format=%U:%G %a", "/etc/hosts"]).ok();
    assert_eq!(mode.trim(), "root:root 644");
    // Nobody else can have the helper.
    let ask = "import socket; socket.socket(socket.AF_UNIX).connect('/run/wslnetd-hosts.sock')";
    let as_nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "/usr/bin/python3",
        "-c",
        ask,
    ];
    assert!(distro.run(&as_nobody).stderr.contains("PermissionError"));

    distro.systemctl(&["stop", "wslnetd.service"]).ok();
    assert_eq!(file(), before);
    assert_eq!(distro.property("Result"), "success");
}

/// An engine in Python: serves a list of one container with a port at a path, as a user. Its socket is closed to all others.
const ENGINE: &str = r#"
import http.server, json, os, socketserver, sys
path, uid, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
folder = os.path.dirname(path)
os.makedirs(folder, exist_ok=True)
if uid: os.chown(folder, uid, uid); os.chmod(folder, 0o700)
os.setgid(uid); os.setuid(uid); os.umask(0o077)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self): return "somebody"
    def do_GET(self):
        self.send_response(200)
        if self.path.startswith("/events"):
            self.send_header("Transfer-Encoding", "chunked"); self.end_headers(); self.rfile.read(1)
        else:
            body = json.dumps([{"Id": "a", "Names": ["/" + name], "Ports": [{"PublicPort": 8080, "Type": "tcp"}]}]).encode()
            self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): pass
Server(path, Handler).serve_forever()
"#;

/// Asks the socket of the readers about an engine, prints the first report, and how the connection came to its end.
const ASK: &str = r#"
import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(20)
s.connect("/run/wslnetd-engines.sock"); s.sendall(sys.argv[1].encode() + b"\n")
print(s.makefile().readline())
"#;

#[test]
fn the_daemon_learns_of_containers_by_a_reader_and_nobody_else_does() {
    let world = World::new();
    let distro = SystemdDistro::boot(&world, CONFIG);
    start_engine(&distro, "/run/docker.sock", "0", "of-root");
    start_engine(&distro, "/run/user/4242/docker.sock", "4242", "of-user");
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    let ask = |user: &str, uid: u32| {
        let question = format!("{{\"kind\":\"docker\",\"uid\":{uid}}}");
        let as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"];
        distro.run(&[&as_user[..], &["/usr/bin/python3", "-c", ASK, &question]].concat())
    };

    for (uid, name) in [(0, "of-root"), (4242, "of-user")] {
        let report: serde_json::Value = ask("wslnetd", uid).json().unwrap();
        let container = &report["answer"]["list"]["containers"][0]["container"];
        assert_eq!(container["name"], name, "{report}");
    }
    // By itself the daemon's user gets to neither, and others do not get to the reader.
    let refused = ask("65534", 0);
    assert!(refused.stderr.contains("PermissionError"), "{refused:?}");
    let direct = "import socket; socket.socket(socket.AF_UNIX).connect('/run/docker.sock')";
    let direct = [
        "setpriv",
        "--reuid=wslnetd",
        "--regid=wslnetd",
        "--clear-groups",
        "/usr/bin/python3",
        "-c",
        direct,
    ];
    assert!(distro.run(&direct).stderr.contains("PermissionError"));
    // A reader ends with its connection.
    eventually(SOON, || {
        let units = distro
            .systemctl(&["list-units", "--no-legend", "wslnetd-engines@*"])
            .ok();
        check(units.trim().is_empty(), || units.clone())
    });
}

#[test]
fn the_unit_shares_the_port_of_a_container_as_the_containers() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    start_engine(&distro, "/run/docker.sock", "0", "of-root");
    let proxy = "import ctypes, socket; ctypes.CDLL(None).prctl(15, b'docker-proxy', 0, 0, 0)\n\
                 s = socket.create_server(('0.0.0.0', 8080))\n\
                 while True: s.accept()[0].close()";
    distro.start("proxy", &["/usr/bin/python3", "-c", proxy]);

    distro.systemctl(&["start", "wslnetd.service"]).ok();

    world.client.until_open(SOON, WINDOWS, 8080);
    let list: Vec<serde_json::Value> = distro.run(&["wslnetd", "list", "--json"]).json().unwrap();
    let listener = list.iter().find(|one| one["port"] == 8080).unwrap();
    let labels = listener["labels"].as_array().unwrap();
    assert!(labels.contains(&"container=of-root".into()), "{listener}");
}

/// Starts an engine of a user, and waits until it can be asked.
fn start_engine(distro: &SystemdDistro, path: &str, uid: &str, name: &str) {
    distro.start(name, &["/usr/bin/python3", "-c", ENGINE, path, uid, name]);
    eventually(SOON, || {
        let seen = distro.run(&["test", "-S", path]);
        check(seen.code == 0, || format!("{path} is not there"))
    });
}
