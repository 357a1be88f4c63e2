//! Programs that the measurements start inside of distros: this binary itself, under another first argument.

pub mod control;
pub mod crowd;
pub mod farm;
pub mod listener;
pub mod poller;
pub mod service;

use std::path::Path;

use anyhow::bail;

use crate::e2e::{Machine, Program};
use crate::micro;

/// The first argument that makes a helper of this program; its name follows.
pub const FLAG: &str = "--helper";

/// Runs the helper that the arguments name, until it is killed.
pub fn main(args: &[String]) -> anyhow::Result<()> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [crowd::NAME, socket] => crowd::run(Path::new(socket)),
        [farm::NAME, socket] => farm::run(Path::new(socket)),
        [listener::NAME, socket] => listener::run(Path::new(socket)),
        [micro::NAME, case, size, passes] => micro::run(case, size, passes),
        [poller::NAME] => poller::run(),
        [service::NAME, port] => service::run(port.parse()?),
        other => bail!("no such helper: {other:?}"),
    }
}

/// Starts a helper on a machine.
pub fn start(machine: &Machine, args: &[&str]) -> Program {
    let own = std::env::current_exe().expect("a running program has a file");
    let own = own.to_str().expect("a path in UTF-8");
    machine.spawn(&format!("helper-{}", args[0]), &[&[own, FLAG], args].concat())
}
