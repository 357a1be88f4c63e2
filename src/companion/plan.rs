//! What the distros want × what this machine is and allows × what is open now → what to do. Pure: this opens and closes
//! nothing, and asks nobody; [`crate::apply`] executes the actions and knows what came of them.
//!
//! The plan is level-triggered. It is made anew from everything whenever anything changed, and the difference between
//! what should be and what is becomes actions: removals first, then new targets, then additions, so that no port is
//! ever open for two reasons. When nothing differs there is nothing to do.
//!
//! **Who owns a port.** Of those who claim a port of Windows the first one whose claim could be applied. A claim that
//! policy refuses holds nothing, so it cannot keep others out. A forward that would take another port than it wants (`auto`)
//! looks for one before that: see [`assign`].
//!
//! **Windows' own 127.0.0.1** is WSL's, which forwards it to what listens on 0.0.0.0 or 127.0.0.1 in the VM. Where the distro says
//! that WSL leaves it free (`loopback_gap`), a relay listens there too, whatever its reach; see `host/bind.rs` for what
//! happens when two want it.
//!
//! **Where the VM shares Windows' ports** nothing is relayed: see [`shared`]. The ports are openings in the firewall, beside the relays.
//!
//! **What becomes of connections** when a relay closes. They go on (`Drain`) if the listener merely went away: `nc -l`
//! closes its listener and goes on talking. They are reset (`Cut`) if the listener lives but must no longer be reached
//! that way (revoked, refused now, or owned by another distro now), or if its distro is gone.

mod actions;
mod desired;
mod means;
mod networks;
mod places;
mod shared;
mod statuses;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wslnet_protocol::{ForwardId, ForwardState, Mode, Reach};
use wslnet_relay::Connections;

pub use self::actions::actions;
pub use self::desired::desired;
pub use self::networks::{LeftOut, lan_addresses, left_out, shared_addresses};
pub use self::places::{Place, Places, Stage, assign};
pub use self::statuses::statuses;
use crate::config::{Backend, Policy};
use crate::control_address::ControlPorts;
use crate::host::Interface;
use crate::ledger::{Claims, Key};

/// What a plan depends on besides the claims.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The network interfaces as they are now.
    pub interfaces: &'a [Interface],
    /// Where the control port listens.
    pub control: ControlPorts,
    /// What Windows allows.
    pub policy: &'a Policy,
    /// By what forwards are applied of distros in NAT mode.
    pub backend: Backend,
}

/// What should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The relays, each for the one forward that owns the port.
    pub relays: BTreeMap<Key, Relay>,
    /// The ports that are Windows' own already and are to be open in its firewall, each for the one forward that owns it.
    pub openings: BTreeMap<Key, Opening>,
    /// For each distro all forwards of its set, in the set's order, and what becomes of each.
    pub outcomes: BTreeMap<String, Vec<(ForwardId, Outcome)>>,
    /// The interfaces that nothing listens on because of the networks that they are in.
    pub left_out: Vec<LeftOut>,
}

/// A relay that should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// For whom.
    pub distro: String,
    /// For which listener.
    pub id: ForwardId,
    /// What to dial.
    pub target: SocketAddr,
    /// How far it goes.
    pub reach: Reach,
    /// Where to listen on networks; empty for reach `host`, and while no network interface is fit for it.
    pub listen: BTreeSet<SocketAddr>,
    /// Whether to listen at [`loopback_gap`] too.
    pub fills_gap: bool,
    /// What its state has to say besides; usually empty.
    pub note: String,
    /// The place that was found for it, if it would take another port than it wants.
    pub place: Option<Place>,
}

/// A port that Windows shares with the VM by itself, and that the local network is to be let in by. It names nothing to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// For whom.
    pub distro: String,
    /// For which listener.
    pub id: ForwardId,
    /// In which of the modes that share ports the VM is.
    pub mode: Mode,
    /// Where it is to be reached on networks; empty while no network interface is fit for it.
    pub listen: BTreeSet<SocketAddr>,
    /// The networks of these addresses: an address in each, and how many bits are the network's.
    pub networks: BTreeSet<(IpAddr, u8)>,
    /// Whether Windows itself reaches it at its 127.0.0.1.
    pub is_on_loopback: bool,
}

/// What the firewall made of the openings.
pub type Opinions = BTreeMap<Key, Result<(), Failure>>;

/// What becomes of a forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It gets the relay on this port. Its state follows from what came of that.
    Relayed(Key),
    /// It is let in at this port by the firewall. Its state follows from what the firewall made of that.
    Opened(Key),
    /// It needs no relay or may have none.
    Settled(Verdict),
}

/// The state of a forward without a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The state.
    pub state: ForwardState,
    /// Why, and what to do about it.
    pub reason: String,
}

/// What is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// The relays that are open.
    pub relays: BTreeMap<Key, Applied>,
}

/// A relay that is open, though not necessarily at every address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// For whom.
    pub distro: String,
    /// For which listener.
    pub id: ForwardId,
    /// What it dials.
    pub target: SocketAddr,
    /// Where it listens.
    pub listening: BTreeSet<SocketAddr>,
    /// Where it tried to listen and could not.
    pub failed: BTreeMap<SocketAddr, Failure>,
}

/// Why a relay could not listen at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In one sentence, with the address, for people.
    pub reason: String,
    /// If somebody else holds the port, or the system itself: who, in the words that follow "the port was".
    pub conflict: Option<String>,
    /// What makes further tries useless by themselves, if anything does.
    pub stuck: Option<Stuck>,
}

/// Why an address will not be had by trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// This program may not do it on this machine.
    Denied,
    /// Somebody undoes it again and again.
    Contended,
}

/// One thing to do. Each names a relay by its port, and all but `Open` expect that it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stop listening everywhere and forget the relay.
    Close {
        /// Which relay.
        key: Key,
        /// What becomes of its connections.
        connections: Connections,
    },
    /// Stop listening at one address, or forget that it failed. Connections that came in there are reset: the address
    /// has left the machine, policy left it out, or WSL wants it.
    Unlisten {
        /// Which relay.
        key: Key,
        /// Where.
        address: SocketAddr,
    },
    /// Stay open for another listener of the same distro. Its predecessor's connections belong to it from now on.
    Adopt {
        /// Which relay.
        key: Key,
        /// The new listener.
        id: ForwardId,
    },
    /// Dial something else from now on.
    Retarget {
        /// Which relay.
        key: Key,
        /// The new target.
        target: SocketAddr,
    },
    /// Begin a relay that listens nowhere yet.
    Open {
        /// Its port.
        key: Key,
        /// For whom.
        distro: String,
        /// For which listener.
        id: ForwardId,
        /// What to dial.
        target: SocketAddr,
    },
    /// Listen at one more address of a network.
    Listen {
        /// Which relay.
        key: Key,
        /// Where.
        address: SocketAddr,
    },
    /// Listen at [`loopback_gap`] too.
    FillGap {
        /// Which relay.
        key: Key,
    },
}

/// Where a relay listens for the programs of Windows itself, at this port.
pub fn loopback_gap(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Outcome {
    /// The port of Windows at which the forward is to be had, if it is.
    pub fn port(&self) -> Option<Key> {
        match self {
            Self::Relayed(key) | Self::Opened(key) => Some(*key),
            Self::Settled(_) => None,
        }
    }
}

impl Actual {
    /// Whether anything could not be opened, so that another try may help.
    pub fn has_failures(&self) -> bool {
        self.relays.values().any(|applied| !applied.failed.is_empty())
    }
}

impl Relay {
    /// Whether the open relay is this one, wherever it listens and whatever it dials.
    fn is(&self, applied: &Applied) -> bool {
        self.id == applied.id && self.distro == applied.distro
    }

    /// Whether it is to listen there.
    fn wants(&self, address: &SocketAddr) -> bool {
        self.listen.contains(address) || (self.fills_gap && *address == loopback_gap(address.port()))
    }

    /// Whether the open relay can go on as this one, wherever it listens and whatever it dials. It can for another
    /// listener of the same distro too: Windows may not let the port be opened again while connections that came
    /// in by it live. Not so if the former listener lives on and was revoked: its connections must end.
    fn continues(&self, applied: &Applied, claims: &Claims<'_>) -> bool {
        let revoked = || {
            claims
                .distros
                .get(applied.distro.as_str())
                .is_some_and(|d| d.revoked.contains(&applied.id))
        };
        self.distro == applied.distro && (self.id == applied.id || !revoked())
    }
}
