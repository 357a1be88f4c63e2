//! What `wslnetd status`, `list` and `explain` tell. Made from a [`Picture`](crate::picture::Picture) by pure functions,
//! so that what people read and what was pushed can never disagree.

mod advice;
mod explain;
mod rows;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::labels::Label;
use crate::observe::Listener;
use crate::picture::Entry;

pub use explain::{Explanation, Step, Walk, explain};
pub(crate) use rows::{Outcome, outcome};
pub use rows::{rows, selectors, status, status_line};

/// Who reads. The daemon may look into every process; its answers do not pass on what is denied to the reader elsewhere:
/// which process of another user holds a socket, what it executes and what its environment says, and the labels of
/// containers. A process's name, its user and its unit are public in /proc, and a container shows by its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Root, or the daemon's own user.
    Privileged,
    /// Any other user, by id; none when it is not known.
    User(Option<u32>),
}

impl Reader {
    /// Whether the reader may know everything about the holders of this listener.
    fn knows(self, listener: &Listener) -> bool {
        match self {
            Self::Privileged => true,
            Self::User(uid) => uid == Some(listener.socket.uid),
        }
    }

    /// The labels of a listener that the reader may see.
    fn labels(self, entry: &Entry) -> impl Iterator<Item = &Label> {
        let knows = self.knows(&entry.listener);
        let is_private = |key: &str| key == "exe" || key == "wslnetd" || key.starts_with("container.label.");
        entry
            .labels
            .iter()
            .filter(move |label| knows || !is_private(&label.key))
    }
}

/// The daemon as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The program's version.
    pub version: String,
    /// The name of this distro.
    pub distro_name: Option<String>,
    /// Whether the configuration asks for that name and nobody tells it, so that those selectors match nobody.
    pub distro_is_missing: bool,
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
    /// How many of them the policy exposes, whatever Windows makes of them; see `active`.
    pub exposed: usize,
    /// How many of them it withholds, the IPv6 halves of exposed pairs included.
    pub withheld: usize,
    /// How many listeners of this network namespace belong to somebody else.
    pub foreign: usize,
    /// How many forwards are active on Windows.
    pub active: usize,
    /// Where Windows listens for this distro.
    pub windows: Vec<IpAddr>,
    /// What keeps labels of containers from being known, and what to do.
    pub container_troubles: Vec<String>,
    /// Why it is not known what units say of their services, and what to do.
    pub unit_trouble: Option<String>,
    /// How listeners are found.
    pub source: Option<String>,
    /// How it is learnt that there is something new.
    pub wake_up: Option<String>,
    /// Why scans fail at the moment.
    pub scan_error: Option<String>,
    /// What is in the distro's hosts file, if names are kept there, or why it is not.
    pub hosts: Option<String>,
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
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The address it is bound to.
    pub address: IpAddr,
    /// The port it is bound to.
    pub port: u16,
    /// The process that holds it; of several, the oldest.
    pub process: Option<String>,
    /// The container to which it belongs.
    pub container: Option<String>,
    /// That process's id; none also when the reader may not know it.
    pub pid: Option<i32>,
    /// The user that made it.
    pub user: Option<String>,
    /// All labels that the reader may see, as `key=value`.
    pub labels: Vec<String>,
    /// The name that a rule or the program gives it.
    pub name: Option<String>,
    /// `expose` or `withhold`; a foreign listener has neither.
    pub verdict: Option<String>,
    /// A forward's state, `withheld`, or `foreign`.
    pub state: String,
    /// Why, and what to do.
    pub reason: String,
    /// Where Windows listens for it.
    pub windows: Vec<SocketAddr>,
}

/// One listener's labels, in the answer to `labels`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selectors {
    /// Who it is.
    pub listener: String,
    /// A term for each label, as a selector takes it.
    pub terms: Vec<String>,
}
