//! Carries connections from the VM's address to services that listen on loopback, for rules that say `loopback = "bridge"`.

use std::net::{IpAddr, SocketAddr};

/// A bridge that should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bridge {
    /// Where to accept connections: the VM's address as Windows dials it.
    pub address: IpAddr,
    /// The port there, or another one where somebody else has it.
    pub port: u16,
    /// The service.
    pub target: SocketAddr,
}

/// What became of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeState {
    /// It accepts connections here.
    Open(SocketAddr),
    /// It could not be opened.
    Failed {
        /// Why, for people, with the fix where there is one.
        reason: String,
    },
}
