//! The bench on which the tests stand: worlds of namespaces, the programs in them, and ways to look at them from outside.
//! It knows the two programs only by their command line and JSON.

mod client;
mod companion;
mod distro;
mod engine;
mod firewall;
mod guests;
mod interop;
mod machine;
mod place;
mod program;
mod release;
mod rig;
mod systemd;
mod wait;
mod wine;
mod world;
mod wsl;

pub use client::Client;
pub use companion::Companion;
pub use distro::Distro;
pub use engine::{Engine, IMAGE};
pub use firewall::PacketFilter;
pub use guests::{PYTHON, dns_question, guest, listen_on, name_server, stock_redis, udp_echo, web};
pub use interop::{Distros, Interop, answer};
pub use machine::{Machine, NetNs};
pub use program::{Program, Ran};
pub use release::{RELEASE, Release};
pub use rig::{Rig, pair};
pub use systemd::SystemdDistro;
pub use wait::{A_SECOND, SOON, check, eventually, stays};
pub use wine::Windows;
pub use world::World;
pub use wsl::Wsl;

/// The address of the VM.
pub const VM: &str = "172.28.0.2";
/// Windows on the side of the VM: the gateway, and where the companion listens.
pub const GATEWAY: &str = "172.28.0.1";
/// Windows on the local network.
pub const WINDOWS: &str = "192.168.50.1";
/// Windows on the local network, by IPv6.
pub const WINDOWS6: &str = "fd00:50::1";
/// The companion's control port.
pub const CONTROL_PORT: u16 = 9756;

/// Panics unless the machine has what a test needs: a test that cannot run must never pass.
pub fn require(what: &str, present: bool, remedy: &str) {
    assert!(present, "this test needs {what}: {remedy}");
}

/// What WSL calls a distro that Windows programs can be started from.
pub const UBUNTU: &str = "Ubuntu";

/// Needs the right to make namespaces.
pub fn require_root() {
    require(
        "root",
        nix::unistd::geteuid().is_root(),
        "run scripts/test.sh as root",
    );
}

/// Needs a program on the PATH of the machines.
pub fn require_program(name: &str, package: &str) {
    let found = machine::PATH
        .split(':')
        .any(|folder| std::path::Path::new(folder).join(name).exists());
    require(
        name,
        found,
        &format!("apt-get install {package}, as scripts/test.sh does"),
    );
}
