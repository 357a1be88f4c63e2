//! What people run in a distro: real servers, and odd listeners written in Python.

use super::{Machine, Program};

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
