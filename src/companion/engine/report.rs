//! What `wslnet-companion status` and `list` tell, as the running companion knows it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use wslnet_protocol::{ForwardState, Protocol, Reach, SessionId};

use crate::capability::Capability;
use crate::form::Form;

use crate::host::Category;

/// The companion as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusReport {
    /// The program's version.
    pub version: String,
    /// In which form it runs.
    #[serde(default)]
    pub form: Form,
    /// What takes rights, and whether this process has them.
    #[serde(default)]
    pub rights: Vec<Capability>,
    /// Where the control port listens: in the VM's network, on the loopback address, or both.
    pub control: Vec<SocketAddr>,
    /// Why it does not listen where it should too.
    #[serde(default)]
    pub control_trouble: Option<String>,
    /// How forwards are applied.
    pub backend: String,
    /// What became of ports that WSL shares with Windows; empty while there are none.
    #[serde(default)]
    pub shared: String,
    /// Whether the backend could do its work now; empty where nothing can stand in its way.
    #[serde(default)]
    pub capability: String,
    /// The ceiling that companion.toml sets.
    pub reach: Reach,
    /// The addresses on which forwards of reach `lan` listen.
    pub addresses: Vec<IpAddr>,
    /// The networks that Windows is in, but for the VM's own.
    #[serde(default)]
    pub networks: Vec<NetworkReport>,
    /// What Windows Firewall has against clients or distros; empty where nothing was found.
    #[serde(default)]
    pub firewall: Vec<FindingReport>,
    /// How many keys are trusted.
    pub trusted: usize,
    /// The distros that have or had a session within their lease.
    pub distros: Vec<DistroReport>,
    /// How many forwards are active.
    pub active: usize,
    /// How many of the active ones are UDP.
    pub udp: usize,
    /// How many of the active ones are at another port than they want.
    pub moved: usize,
    /// How many forwards are in another state.
    pub inactive: usize,
    /// What is in the hosts file, or why nothing is.
    pub names: String,
    /// Why a changed companion.toml or trusted.toml was not taken over.
    pub config_error: Option<String>,
}

/// An interface of Windows in a network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkReport {
    /// The interface's name.
    pub interface: String,
    /// The category of its network; `None` if Windows does not say.
    pub category: Option<Category>,
    /// Why no forward listens there, and what to do; empty if forwards do.
    pub left_out: String,
}

/// Something that stands in the way of clients or distros.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FindingReport {
    /// What it is.
    pub what: String,
    /// What helps.
    pub fix: String,
    /// Whether it keeps out clients of forwards.
    pub keeps_clients_out: bool,
}

/// One distro.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DistroReport {
    /// The name under which its key is trusted.
    pub distro: String,
    /// Its session: the number is another one after it was lost.
    pub session: SessionId,
    /// The address from which its session comes.
    pub peer: IpAddr,
    /// The networking mode that it says WSL is in.
    pub mode: String,
    /// Whether its connection is open now.
    pub connected: bool,
    /// Its wslnetd's version.
    pub daemon: String,
    /// The generation of its set.
    pub generation: Option<u64>,
}

/// One forward.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForwardReport {
    /// Whose it is.
    pub distro: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The port on Windows: the one that it has, or else the one that it wants.
    pub port: u16,
    /// The port on Windows that the distro wants.
    pub wanted: u16,
    /// Where Windows listens for it now.
    pub listen: Vec<SocketAddr>,
    /// What is dialled for it; nothing where the VM shares Windows' ports.
    pub target: Option<SocketAddr>,
    /// What became of it.
    pub state: ForwardState,
    /// Why, and what to do; empty when there is nothing to say.
    pub reason: String,
    /// How far the distro wants it to go.
    pub reach: Reach,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The display labels that the distro sent.
    pub labels: Vec<String>,
    /// Connections that live now; over UDP flows.
    pub connections: usize,
    /// Clients that were turned away: over a limit, not from the local network, or a loop. Over UDP datagrams.
    pub refused: u64,
    /// Clients that could not be connected to the service.
    pub dial_failures: u64,
    /// Bytes from clients to the service since the forward was opened.
    pub bytes_in: u64,
    /// Bytes from the service to clients since the forward was opened.
    pub bytes_out: u64,
}
