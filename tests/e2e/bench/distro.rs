//! A distro: own processes, the VM's network, and the daemon in it.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::place::Place;
use super::wait::{SOON, check, eventually};
use super::{Machine, Program, Ran, World};

/// The daemon's program.
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_wslnetd");

/// The least that a daemon outside of WSL must be told.
const CONFIG: &str = "network-mode = \"nat\"\n";

/// A distro of a world.
#[derive(Debug)]
pub struct Distro {
    // Before the machine, which cannot end while it is there.
    daemon: Option<Program>,
    /// Its processes.
    pub machine: Machine,
    /// Where the daemon's files are.
    pub place: Place,
    /// What Windows calls it.
    pub name: String,
}

impl Distro {
    /// A distro whose daemon does not run yet.
    pub fn new(world: &World, name: &str) -> Self {
        Self {
            machine: Machine::new(world.vm.clone(), &world.logs(), ""),
            place: Place::new(PROGRAM, &world.new_folder(name), CONFIG),
            name: name.to_owned(),
            daemon: None,
        }
    }

    /// Replaces the config, but for the networking mode, which outside of WSL is always needed.
    pub fn configure(&self, text: &str) {
        self.place.configure(&format!("{CONFIG}{text}"));
    }

    /// Replaces the config and has the daemon read it.
    pub fn reconfigure(&self, text: &str) {
        self.configure(text);
        self.cli(&["reload"]).ok();
    }

    /// Runs a verb of the daemon's program to the end.
    pub fn cli(&self, args: &[&str]) -> Ran {
        self.machine.run(&self.place.line(args))
    }

    /// The same as another user.
    pub fn cli_as(&self, uid: u32, args: &[&str]) -> Ran {
        self.machine.run_as(uid, &self.place.line(args))
    }

    /// Its public key.
    pub fn key(&self) -> String {
        self.cli(&["key"]).ok().trim().to_owned()
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with more flags.
    pub fn start_with(&mut self, more: &[&str]) {
        let line = self.place.line(&[&["run"], more].concat());
        let mut daemon = self.machine.spawn(&format!("wslnetd-{}", self.name), &line);
        eventually(SOON, || {
            check(daemon.is_alive(), || format!("it ended: {}", daemon.log()))?;
            self.status().map(drop)
        });
        self.daemon = Some(daemon);
    }

    /// Starts it and waits until it has a companion.
    pub fn start_connected(&mut self) {
        self.start();
        self.until_connected();
    }

    /// Waits until it has a companion.
    #[track_caller]
    pub fn until_connected(&self) {
        eventually(SOON, || {
            let status = self.status()?;
            check(status["companion"]["state"] == "connected", || status.to_string())
        });
    }

    /// The running daemon.
    pub fn daemon(&self) -> &Program {
        self.daemon.as_ref().expect("it was started")
    }

    /// Says goodbye: SIGTERM, and wait.
    pub fn stop(&mut self) {
        let daemon = self.daemon.take().expect("it was started");
        let status = daemon.stop();
        assert!(status.success(), "the daemon ended with {status}");
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        self.daemon.take().expect("it was started").kill();
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        self.daemon().signal(signal);
    }

    /// `wslnetd status`.
    pub fn status(&self) -> Result<Value, String> {
        self.cli(&["status", "--json"]).json()
    }

    /// `wslnetd list`.
    pub fn list(&self) -> Result<Vec<Value>, String> {
        self.cli(&["list", "--json"]).json()
    }

    /// The listeners on one port.
    pub fn listeners(&self, port: u16) -> Result<Vec<Value>, String> {
        Ok(self
            .list()?
            .into_iter()
            .filter(|listener| listener["port"] == port)
            .collect())
    }

    /// Waits until the only listener on a port satisfies a condition, and hands it out.
    #[track_caller]
    pub fn until(&self, limit: Duration, port: u16, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(limit, || match self.listeners(port)?.as_slice() {
            [one] if holds(one) => Ok(one.clone()),
            other => Err(format!("port {port}: {other:?}")),
        })
    }

    /// Waits until the only listener on a port has a state, and hands it out.
    #[track_caller]
    pub fn until_state(&self, port: u16, state: &str) -> Value {
        self.until(SOON, port, |listener| listener["state"] == state)
    }

    /// Waits until the only listener on a port is kept private, and hands out the reason.
    #[track_caller]
    pub fn until_withheld(&self, port: u16) -> String {
        let listener = self.until(SOON, port, |listener| listener["verdict"] == "withhold");
        let reason = listener["reason"].as_str().unwrap_or_default().to_owned();
        assert!(!reason.is_empty(), "withheld without a reason: {listener}");
        reason
    }
}

impl Drop for Distro {
    #[expect(clippy::print_stderr, reason = "the only voice of a failing test")]
    fn drop(&mut self) {
        if std::thread::panicking() && self.daemon.is_some() {
            for verb in ["status", "list"] {
                let ran = self.cli(&[verb]);
                eprintln!("---- {}: wslnetd {verb}\n{}{}", self.name, ran.stdout, ran.stderr);
            }
        }
    }
}
