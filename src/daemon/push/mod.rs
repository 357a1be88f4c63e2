//! Keeps the companion in step: one session, one request in flight, always the whole set.
//!
//! [`session`] is the life of one session, [`client`] the requests, [`backoff`] the pauses between attempts,
//! [`trust`] notices that another companion is trusted; [`mod@probe`] asks once, for `wslnetd doctor`. What the set holds is decided elsewhere and arrives through a watch channel; what Windows made of it leaves through another.

mod backoff;
mod client;
mod error;
mod lifeline;
mod probe;
mod session;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use wslnet_protocol::{ForwardId, ForwardStatus, Mode};

pub(crate) use probe::{Welcome, probe};
pub use session::{COMPANION, Identity, Pusher};

/// How the companion can be reached, as far as the network tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it should listen; `None` while that is unknown.
    pub companion: Option<SocketAddr>,
    /// The networking mode that sessions name; of no meaning while there is nowhere to go.
    pub mode: Mode,
    /// Why it is unknown; empty when it is known.
    pub missing: String,
    /// The addresses of this network namespace. A session that came from one of them ends when it is gone.
    pub local: BTreeSet<IpAddr>,
}

/// What is known of the companion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompanionView {
    /// How things stand.
    pub state: LinkState,
    /// Where it is, or should be.
    pub address: Option<SocketAddr>,
    /// Its version, while connected.
    pub version: Option<String>,
    /// What is wrong and what to do; empty when nothing is.
    pub reason: String,
    /// The VM's address as Windows sees it, while connected.
    pub peer: Option<IpAddr>,
    /// The name under which Windows trusts this distro, while connected.
    pub distro: Option<String>,
    /// Whether Windows has applied a set in this session.
    pub applied: bool,
    /// What Windows made of each forward of the last set; empty while not connected.
    pub forwards: Arc<BTreeMap<ForwardId, ForwardStatus>>,
}

/// How the link to the companion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// A session is open and the set is applied or on its way.
    Connected,
    /// An attempt is under way or will be made soon.
    Connecting,
    /// One side does not trust the other's key; a command is needed.
    Unpaired,
    /// Nothing will be attempted: the companion's address is unknown.
    Searching,
}

impl LinkState {
    /// The word that people and programs see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Connecting => "connecting",
            Self::Unpaired => "unpaired",
            Self::Searching => "searching",
        }
    }
}

impl Default for CompanionView {
    fn default() -> Self {
        Self {
            state: LinkState::Searching,
            address: None,
            version: None,
            reason: "wslnetd has just started".to_owned(),
            peer: None,
            distro: None,
            applied: false,
            forwards: Arc::default(),
        }
    }
}
