//! By what forwards are applied.

use std::fmt;

use wslnet_protocol::Protocol;

/// The means by which Windows gets the connections of forwards to the VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// This program's own sockets.
    #[default]
    Relay,
    /// Entries of Windows' `portproxy`, on which the service IP Helper acts.
    Portproxy,
}

impl Backend {
    /// Whether it can carry this protocol at all.
    pub fn carries(self, protocol: Protocol) -> bool {
        match self {
            Self::Relay => true,
            Self::Portproxy => protocol == Protocol::Tcp,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relay => "relay",
            Self::Portproxy => "portproxy",
        })
    }
}
