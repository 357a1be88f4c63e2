//! What people run in a distro: real servers, and odd listeners written in Python.

use super::{Machine, Program, require, require_program};

/// The interpreter; its process name is `python3`.
pub const PYTHON: &str = "/usr/bin/python3";

/// `python3 -m http.server` on a port of all IPv4 addresses.
pub fn web(machine: &Machine, port: u16) -> Program {
    listen_on(machine, "0.0.0.0", port)
}

/// The same, bound to an address.
pub fn listen_on(machine: &Machine, address: &str, port: u16) -> Program {
    let name = format!("web-{port}");
    let port = port.to_string();
    machine.spawn(
        &name,
        &[
            PYTHON,
            "-m",
            "http.server",
            "--bind",
            address,
            "--directory",
            "/usr",
            &port,
        ],
    )
}

/// A UDP server on a port of all IPv4 addresses, which answers each datagram with `name`, a colon and what it was sent.
pub fn udp_echo(machine: &Machine, name: &str, port: u16) -> Program {
    let script = format!(
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         s.bind(('0.0.0.0', {port}))\n\
         while True:\n    data, peer = s.recvfrom(65535); s.sendto(b'{name}:' + data, peer)\n"
    );
    guest(machine, name, &script)
}

/// dnsmasq on a port of all addresses, UDP and TCP. It knows one name and asks nobody for others.
pub fn name_server(machine: &Machine, port: u16, name: &str, address: &str) -> Program {
    require_program("dnsmasq", "dnsmasq-base");
    let options = [
        "--conf-file=/dev/null",
        "--keep-in-foreground",
        "--log-facility=-",
        "--pid-file=",
        "--user=root",
        "--no-resolv",
        "--no-hosts",
        &format!("--port={port}"),
        &format!("--address=/{name}/{address}"),
    ];
    machine.spawn("dnsmasq", &[&["dnsmasq"], &options[..]].concat())
}

/// What a name server is asked for the IPv4 address of a name. The answer ends with that address.
pub fn dns_question(name: &str) -> Vec<u8> {
    // Number 0x2a2a, one question, an answer by recursion is welcome.
    let mut question = vec![0x2a, 0x2a, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).expect("a label"));
        question.extend(label.as_bytes());
    }
    // The end of the name, type A, class IN.
    question.extend([0, 0, 1, 0, 1]);
    question
}

/// Redis with the config of its package, on another port. That binds it to loopback; `bind` puts it elsewhere, and leaves
/// the rest (its protected mode) as it is.
pub fn stock_redis(machine: &Machine, port: u16, bind: Option<&str>) -> Program {
    const CONFIG: &str = "/etc/redis/redis.conf";
    require_program("redis-server", "redis-server");
    require(
        CONFIG,
        std::path::Path::new(CONFIG).exists(),
        "apt-get install redis-server",
    );
    let port = port.to_string();
    // The places of the config are those of a service that its unit has prepared.
    let mut line = vec![
        "redis-server",
        CONFIG,
        "--port",
        &port,
        "--daemonize",
        "no",
        "--dir",
        "/run",
        "--pidfile",
        "",
        "--logfile",
        "",
        "--save",
        "",
    ];
    line.extend(bind.iter().flat_map(|address| ["--bind", address]));
    machine.spawn(&format!("redis-{port}"), &line)
}

/// A listener written in Python, with these names at hand: `socket`, `os`, `sys`, `time`, `signal`, and
/// `listener(port, address="0.0.0.0", family=AF_INET, **options)`, which binds and listens.
pub fn guest(machine: &Machine, name: &str, script: &str) -> Program {
    machine.spawn(name, &[PYTHON, "-u", "-c", &format!("{PRELUDE}{script}")])
}

/// Python text before every [`guest`].
pub const PRELUDE: &str = r#"
import ctypes, os, signal, socket, sys, time
def listener(port, address="0.0.0.0", reuse_port=False, only_v6=None):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if only_v6 is not None: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
    s.bind((address, port)); s.listen(64)
    return s
def rename(name):
    ctypes.CDLL(None).prctl(15, name, 0, 0, 0)
def serve(s, answer):
    while True:
        c, _ = s.accept(); c.sendall(answer); c.close()
"#;
