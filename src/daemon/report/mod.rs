//! What `wslnetd status`, `list` and `explain` tell. Made from a [`Picture`](crate::picture::Picture) by pure functions,
//! so that what people read and what was pushed can never disagree.

mod explain;
mod rows;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

pub use explain::{Explanation, Step, Walk, explain};
pub use rows::{rows, status, status_line};

/// The daemon as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The program's version.
    pub version: String,
    /// WSL's networking mode.
    pub mode: String,
    /// How the mode is known, or why it is not.
    pub mode_source: String,
    /// The VM's address as Windows sees it, or as its own network tells while there is no session.
    pub vm_address: Option<IpAddr>,
    /// The other side.
    pub companion: CompanionReport,
    /// How many listeners this distro has.
    pub listeners: usize,
    /// How many of them the policy exposes.
    pub exposed: usize,
    /// How many of them it withholds.
    pub withheld: usize,
    /// How many listeners of this network namespace belong to somebody else.
    pub foreign: usize,
    /// How many forwards are active on Windows.
    pub active: usize,
    /// Where Windows listens for this distro.
    pub windows: Vec<IpAddr>,
    /// How listeners are found.
    pub source: Option<String>,
    /// Why scans fail at the moment.
    pub scan_error: Option<String>,
    /// Why the last changed configuration was refused.
    pub config_error: Option<String>,
}

/// The companion, in [`StatusReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanionReport {
    /// `connected`, `connecting`, `unpaired` or `searching`.
    pub state: String,
    /// Where it is.
    pub address: Option<SocketAddr>,
    /// Its version, while connected.
    pub version: Option<String>,
    /// The name under which it trusts this distro, while connected.
    pub distro: Option<String>,
    /// What is wrong and what to do; empty when nothing is.
    pub reason: String,
}

/// One listener, in the answer to `list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The socket's identity.
    pub id: String,
    /// `tcp`.
    pub protocol: String,
    /// The address it is bound to.
    pub address: IpAddr,
    /// The port it is bound to.
    pub port: u16,
    /// The process that holds it; of several, the oldest.
    pub process: Option<String>,
    /// That process's id.
    pub pid: Option<i32>,
    /// The user that made it.
    pub user: Option<String>,
    /// All labels, as `key=value`.
    pub labels: Vec<String>,
    /// `expose` or `withhold`; a foreign listener has neither.
    pub verdict: Option<String>,
    /// A forward's state, `withheld`, or `foreign`.
    pub state: String,
    /// Why, and what to do.
    pub reason: String,
    /// Where Windows listens for it.
    pub windows: Vec<SocketAddr>,
}
