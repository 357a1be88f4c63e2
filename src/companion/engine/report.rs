//! What `wslnet-companion status` and `list` tell, as the running companion knows it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use wslnet_protocol::{ForwardState, Protocol, Reach, SessionId};

use crate::capability::Capability;
use crate::form::Form;

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
    /// Where the control port listens.
    pub control: SocketAddr,
    /// How forwards are applied.
    pub backend: String,
    /// Whether the backend could do its work now; empty where nothing can stand in its way.
    #[serde(default)]
    pub capability: String,
    /// The ceiling that companion.toml sets.
    pub reach: Reach,
    /// The addresses on which forwards of reach `lan` listen.
    pub addresses: Vec<IpAddr>,
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

/// One distro.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DistroReport {
    /// The name under which its key is trusted.
    pub distro: String,
    /// Its session: the number is another one after it was lost.
    pub session: SessionId,
    /// The address from which its session comes.
    pub peer: IpAddr,
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
    /// What is dialled for it.
    pub target: SocketAddr,
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
