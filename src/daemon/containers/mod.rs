//! Which container a listener belongs to, as Docker or Podman say it.
//!
//! A published port is held by a process of the engine (`docker-proxy`, `dockerd`, `conmon`, …), which says nothing of the
//! container. [`Containers`] is the latest that the engines said; asking it is pure. [`demand`] says which engines have to be
//! asked at all, so that nobody starts an engine who only looks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::observe::Listener;

/// One engine of this distro: of which kind, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Engine {
    /// Which program.
    pub kind: EngineKind,
    /// The user who runs it; 0 is the system's.
    pub uid: u32,
}

/// A container engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineKind {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

/// What is known of a container. All texts are safe to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name, without the leading slash.
    pub name: String,
    /// The image that it was made from, as the user named it.
    pub image: String,
    /// Its labels, in the order of their keys.
    pub labels: BTreeMap<String, String>,
}

/// What the engines have said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Containers {}

/// The container of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// No engine has to do with it.
    Nothing,
    /// This one.
    Container(&'a Container),
    /// It is an engine's, and whose container's is not known yet. Nothing may be done with it before, but at `until`, if
    /// there is such a moment, it counts as nobody's.
    Waits {
        /// Why, for people.
        reason: String,
        /// When to ask again at the latest.
        until: Option<Instant>,
    },
}

impl Containers {
    /// The container of this listener at this moment.
    pub fn of(&self, _listener: &Listener, _now: Instant) -> Found<'_> {
        Found::Nothing
    }
}

/// The engines that have something to say of these listeners.
pub fn demand(_listeners: &[Listener]) -> BTreeSet<Engine> {
    BTreeSet::new()
}
