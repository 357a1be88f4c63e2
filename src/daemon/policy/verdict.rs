//! Verdicts: what becomes of a listener, and what said so.

use std::fmt;

use wslnet_console::diagnose::Place;
use wslnet_protocol::{Bind, Reach};

use crate::config::ListenPort;

/// What becomes of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is shared.
    Expose(Exposure),
    /// It is not known yet. Until it is, the listener stays private.
    Wait {
        /// What is missing, for people.
        reason: String,
    },
    /// It stays private.
    Withhold {
        /// Why, for people, with the fix where there is one.
        reason: String,
        /// What said so.
        decided_by: DecidedBy,
    },
}

/// How a listener is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// How Windows gets to it.
    pub way: Way,
    /// The wanted port on Windows.
    pub listen_port: ListenPort,
    /// How far it goes.
    pub reach: Reach,
    /// A name under which people find it.
    pub name: Option<String>,
    /// What said so.
    pub decided_by: DecidedBy,
}

/// How Windows gets to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It dials the VM and meets the socket, which is bound so.
    Dial(Bind),
    /// It dials a bridge of this daemon, because the socket is bound to loopback.
    Bridge,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecidedBy {
    /// Nothing in particular: what is not opted out is shared.
    Default,
    /// A selector of the configuration's opt-out.
    OptOut {
        /// Where it stands.
        place: Place,
        /// The selector as the file writes it.
        selector: String,
    },
    /// A rule of the configuration.
    Rule {
        /// Where it stands.
        place: Place,
        /// Its selector as the file writes it.
        when: String,
    },
    /// The program, or its container.
    Itself,
    /// The networking mode of WSL.
    Mode,
    /// What the listener is bound to.
    Binding,
    /// Who holds the socket.
    Owner,
    /// That it is UDP.
    Udp,
}

impl Verdict {
    /// The verdict about a socket that no process of this distro holds.
    #[must_use]
    pub fn not_ours() -> Self {
        Self::Withhold {
            reason: "no process of this distro holds it: it belongs to another distro or to the system"
                .to_owned(),
            decided_by: DecidedBy::Owner,
        }
    }

    /// The verdict about a socket of wslnetd itself.
    #[must_use]
    pub fn own_bridge() -> Self {
        Self::Withhold {
            reason: "it is wslnetd's own, for a service on loopback that a rule bridges".to_owned(),
            decided_by: DecidedBy::Owner,
        }
    }

    /// How the listener is shared, if it is.
    #[must_use]
    pub fn exposure(&self) -> Option<&Exposure> {
        match self {
            Self::Expose(exposure) => Some(exposure),
            Self::Wait { .. } | Self::Withhold { .. } => None,
        }
    }

    /// Why it is not shared, if it is not.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Expose(_) => None,
            Self::Wait { reason } | Self::Withhold { reason, .. } => Some(reason),
        }
    }

    /// What has to be known first, if that is so.
    #[must_use]
    pub fn waits_for(&self) -> Option<&str> {
        match self {
            Self::Wait { reason } => Some(reason),
            Self::Expose(_) | Self::Withhold { .. } => None,
        }
    }

    /// Whether the listener is shared.
    #[must_use]
    pub fn is_expose(&self) -> bool {
        self.exposure().is_some()
    }

    /// What said so; none while it is not known.
    #[must_use]
    pub fn decided_by(&self) -> Option<&DecidedBy> {
        match self {
            Self::Expose(Exposure { decided_by, .. }) | Self::Withhold { decided_by, .. } => Some(decided_by),
            Self::Wait { .. } => None,
        }
    }
}

impl fmt::Display for DecidedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default: what is not opted out is shared"),
            Self::OptOut { place, selector } => write!(f, "opt-out \"{selector}\" at {place}"),
            Self::Rule { place, when } => write!(f, "the rule for \"{when}\" at {place}"),
            Self::Itself => f.write_str("what the program says of itself"),
            Self::Mode => f.write_str("the networking mode of WSL"),
            Self::Binding => f.write_str("the address it is bound to"),
            Self::Owner => f.write_str("who holds the socket"),
            Self::Udp => f.write_str("that it is UDP"),
        }
    }
}
