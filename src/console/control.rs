//! The local endpoint through which a command talks to its running program: one JSON value on one line as the
//! request, one as the answer, then the end. What the requests mean is the program's business; so is refusing those
//! that change something to a peer that is not privileged.

mod client;
mod server;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

pub use client::{CallError, call};
pub use server::{Connection, Listener, ServeError, listen};

/// Longest request, in bytes, with its newline.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;

/// Longest answer, in bytes, with its newline.
pub const MAX_ANSWER_BYTES: usize = 16 << 20;

/// How many connections are served at once; more wait.
pub const MAX_CONNECTIONS: usize = 16;

/// How long a peer may take to send its request, and again to take its answer.
pub const PEER_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a program listens for its commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the program.
    name: String,
    /// Socket file, or name of the pipe.
    address: PathBuf,
}

impl Endpoint {
    /// The endpoint of the program `name` that runs with the run directory `dir`: a socket file there on Unix, a
    /// named pipe on Windows.
    #[must_use]
    pub fn in_run_dir(dir: &Path, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: platform::address(dir, name),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address.display())
    }
}

/// What a running program answers to a command: what was asked for, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    /// It was done.
    Done(T),
    /// It was not, and this is why.
    Failed(String),
}

impl<T> From<Answer<T>> for Result<T, String> {
    fn from(answer: Answer<T>) -> Self {
        match answer {
            Answer::Done(value) => Ok(value),
            Answer::Failed(reason) => Err(reason),
        }
    }
}

impl<T> From<Result<T, String>> for Answer<T> {
    fn from(result: Result<T, String>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(reason) => Self::Failed(reason),
        }
    }
}

/// Who sits at the other end of a connection, as the system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Whether it may change something: root or the user of the program itself. On Windows always, because only the
    /// creator, administrators and SYSTEM can write to the pipe.
    pub privileged: bool,
    /// Its user on Unix.
    pub uid: Option<u32>,
}
