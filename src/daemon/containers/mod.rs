//! Which container a listener belongs to, as Docker or Podman say it.
//!
//! A published port is held by a process of the engine (`docker-proxy`, `dockerd`, `conmon`, …), which says nothing of the
//! container. [`Containers`] is the latest that the engines said; asking it is pure. [`demand`] says which engines have to be
//! asked at all, so that nobody starts an engine who only looks.
//!
//! The engines are asked by a reader, which may be a process of its own with rights that the daemon does not have:
//!
//! ```text
//! listeners ─ demand ─▶ watch ──question──▶ reader ──GET──▶ /run/docker.sock, …
//!             of     ◀─        ◀──reports──        ◀─ list, events
//! ```
//!
//! `claim` tells an engine's listeners from others, `found` is what they are matched with, `watch` the daemon's side,
//! `reader` the other one, `report` what travels between them, `api` and `list` the HTTP and the JSON of the engines.

mod api;
mod claim;
#[cfg(test)]
mod fake;
#[cfg(test)]
pub(crate) mod fixture;
mod found;
#[cfg(fuzzing)]
pub mod fuzzing;
mod list;
pub(crate) mod reader;
mod report;
mod watch;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use self::claim::Claim;
pub use self::found::{Containers, Found};
pub use self::watch::{Places, watch};
use crate::observe::Listener;

/// One engine of this distro: of which kind, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Which program.
    pub kind: EngineKind,
    /// The user who runs it; 0 is the system's.
    pub uid: u32,
}

impl fmt::Display for Engine {
    /// `Docker`, or `Podman of user 1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            EngineKind::Docker => "Docker",
            EngineKind::Podman => "Podman",
        };
        match self.uid {
            0 => f.write_str(kind),
            uid => write!(f, "{kind} of user {uid}"),
        }
    }
}

/// A container engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

/// What is known of a container. All texts are safe to print.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name, without the leading slash.
    pub name: String,
    /// The image that it was made from, as the user named it.
    pub image: String,
    /// Its labels, in the order of their keys.
    pub labels: BTreeMap<String, String>,
    /// The others that share its network and so its ports: those of a pod. What holds for one of them holds for the port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod: Vec<Container>,
}

impl Container {
    /// This one and those that share its ports.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.pod)
    }
}

/// The engines that have something to say of the listeners, each with the moment at which the newest of those listeners was
/// first seen: what the engine said before does not count for it.
pub type Demand = BTreeMap<Engine, Instant>;

/// The engines that have something to say of these listeners.
pub fn demand(listeners: &[impl Borrow<Listener>]) -> Demand {
    let mut demand = Demand::new();
    for listener in listeners.iter().map(Borrow::borrow) {
        for engine in Claim::of(listener).iter().flat_map(Claim::engines) {
            let since = demand.entry(engine).or_insert(listener.since);
            *since = listener.since.max(*since);
        }
    }
    demand
}
