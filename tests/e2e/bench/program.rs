//! Programs of a machine: those that go on, and those that have ended.

use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Output};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use super::wait::{SOON, eventually};

/// A program that goes on until it is killed, which happens at the latest when this goes.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    pub(super) fn new(child: Child, log: PathBuf) -> Self {
        Self { child, log }
    }

    pub(super) fn log_path(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{name}.log"))
    }

    /// Its process number, as the outside counts.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its process number inside its machine.
    pub fn inner_pid(&self) -> u32 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let last = line.and_then(|numbers| numbers.split_whitespace().next_back());
        last.expect("a kernel with PID namespaces")
            .parse()
            .expect("a number")
    }

    /// Its process number as this process sees it.
    pub fn outer_pid(&self) -> u32 {
        self.child.id()
    }

    /// How much memory it holds, in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.expect("a kernel that counts memory") * 1024
    }

    /// Everything that it has printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process number");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("is our child").is_none()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_within(SOON)
    }

    /// Waits for its end for a time.
    pub fn wait_within(&mut self, limit: Duration) -> ExitStatus {
        eventually(limit, || {
            self.child.try_wait().expect("is our child").ok_or_else(|| {
                format!(
                    "still runs; {}",
                    String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default())
                )
            })
        })
    }

    /// Asks it to end, and waits until it did.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Presses Ctrl-C, and waits until it has ended: what Wine passes on to Windows programs.
    pub fn interrupt(mut self) -> ExitStatus {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    /// Ends it without a warning.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ran {
    what: String,
    /// Its exit code; -1 after a signal.
    pub code: i32,
    /// Its output.
    pub stdout: String,
    /// Its complaints.
    pub stderr: String,
}

impl Ran {
    pub(super) fn new(args: &[&str], output: Output) -> Self {
        Self {
            what: args.join(" "),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Its output, if it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Its output as JSON, or what went wrong.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, String> {
        match serde_json::from_str(&self.stdout) {
            Ok(value) if self.code == 0 => Ok(value),
            Ok(_) | Err(_) => Err(format!(
                "{} ended with {}: {}{}",
                self.what, self.code, self.stdout, self.stderr
            )),
        }
    }
}
