//! The companion, running on Linux as the development host does.

use serde_json::Value;

use super::place::Place;
use super::wait::{SOON, check, eventually};
use super::{CONTROL_PORT, Client, GATEWAY, Machine, Program, Ran, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wslnet-companion");

/// A companion of a world: its folders, and the program once it is started.
#[derive(Debug)]
pub struct Companion<'w> {
    windows: &'w Machine,
    /// Where its files are.
    pub place: Place,
    program: Option<Program>,
}

impl<'w> Companion<'w> {
    /// Lays its folders; does not start it.
    pub fn new(world: &'w World) -> Self {
        Self {
            windows: &world.windows,
            place: Place::new(PROGRAM, &world.new_folder("companion"), ""),
            program: None,
        }
    }

    /// Runs a verb of it to the end.
    pub fn cli(&self, args: &[&str]) -> Ran {
        self.windows.run(&self.place.line(args))
    }

    /// Its public key.
    pub fn key(&self) -> String {
        self.cli(&["key"]).ok().trim().to_owned()
    }

    /// Lets a distro in.
    pub fn trust(&self, name: &str, key: &str) {
        self.cli(&["trust", name, key]).ok();
    }

    /// Starts it on the WSL side and waits until it listens.
    pub fn start(&mut self) {
        self.start_on(GATEWAY);
    }

    /// The same on another address.
    pub fn start_on(&mut self, address: &str) {
        self.launch(address, &[]);
    }

    /// Starts it with a hosts file, as it has one on Windows.
    pub fn start_with_hosts(&mut self, file: &str) {
        self.launch(GATEWAY, &["--hosts", file]);
    }

    /// Starts it without telling it where to listen: without an adapter of WSL that is on the loopback address alone.
    pub fn start_by_itself(&mut self) {
        self.launch_at("127.0.0.1", &["run"]);
    }

    fn launch(&mut self, address: &str, more: &[&str]) {
        let listen = format!("{address}:{CONTROL_PORT}");
        self.launch_at(address, &[&["run", "--listen", &listen], more].concat());
    }

    fn launch_at(&mut self, address: &str, line: &[&str]) {
        let line = self.place.line(line);
        let mut program = self.windows.spawn("companion", &line);
        let here = Client::new(self.windows.net.clone());
        eventually(SOON, || {
            check(program.is_alive(), || format!("it ended: {}", program.log()))?;
            let open = here.open_among(address, &[CONTROL_PORT]);
            check(!open.is_empty(), || {
                format!("it does not listen: {}", program.log())
            })
        });
        self.program = Some(program);
    }

    /// The running program.
    pub fn program(&self) -> &Program {
        self.program.as_ref().expect("it was started")
    }

    /// Asks it to end, and waits until it did.
    pub fn stop(&mut self) {
        let status = self.program.take().expect("it was started").stop();
        assert!(status.success(), "the companion ended with {status}");
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        drop(self.program.take());
    }

    /// What it says of itself.
    pub fn status(&self) -> Result<Value, String> {
        self.cli(&["status", "--json"]).json()
    }

    /// Its forwards.
    pub fn list(&self) -> Result<Vec<Value>, String> {
        self.cli(&["list", "--json"]).json()
    }

    /// What it says of one wanted port.
    pub fn forwards(&self, port: u16) -> Result<Vec<Value>, String> {
        Ok(self
            .list()?
            .into_iter()
            .filter(|forward| forward["port"] == port)
            .collect())
    }
}
