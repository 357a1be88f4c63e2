//! The policy: what becomes of a listener, and why. Pure: it is told all it needs, and looks at nothing by itself.
//!
//! A verdict is about one socket. Windows reaches a port, not a socket, so [`wanted()`] then joins the sockets of a port.

mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use wslnet_console::diagnose::Place;
use wslnet_protocol::{Bind, Reach};

use crate::config::{Config, Facts, OptOut};
use crate::listeners::Socket;
use crate::network::{NetworkMode, NetworkView};

pub use wanted::{Decided, Outcome, Port, Wanted, wanted};

/// Decides about listeners, as a configuration says.
#[derive(Debug, Clone)]
pub struct Policy {
    opt_out: Vec<OptOut>,
    reach: Reach,
}

/// Where the listeners live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// How WSL connects the VM to the network.
    pub mode: NetworkMode,
    /// Where the companion dials the VM: the address from which the session comes. While there is no session, the
    /// addresses by which the network of the default gateway may know the VM.
    pub vm_addresses: BTreeSet<IpAddr>,
    /// The interface by which Windows comes in: index and name. The one of the default route, unless the session comes
    /// from an address of another.
    pub default_interface: Option<(u32, String)>,
    /// The names of all interfaces, by index.
    pub interfaces: BTreeMap<u32, String>,
    /// Which interface has which address, those of the default route included.
    pub addresses: BTreeMap<IpAddr, String>,
    /// Whether the companion is reached by IPv6, and so dials the VM by IPv6; else by IPv4.
    pub peer_is_v6: bool,
}

/// What becomes of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is shared.
    Expose {
        /// To what the listener is bound.
        bind: Bind,
        /// The wanted port on Windows.
        listen_port: u16,
        /// How far it goes.
        reach: Reach,
        /// A name under which people find it.
        name: Option<String>,
        /// What said so.
        decided_by: DecidedBy,
    },
    /// It stays private.
    Withhold {
        /// Why, for people, with the fix where there is one.
        reason: String,
        /// What said so.
        decided_by: DecidedBy,
    },
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecidedBy {
    /// Nothing in particular: what is not opted out is shared.
    Default,
    /// A selector of the configuration.
    OptOut {
        /// Where it stands.
        place: Place,
        /// The selector as the file writes it.
        selector: String,
    },
    /// The networking mode of WSL.
    Mode,
    /// What the listener is bound to.
    Binding,
    /// Who holds the socket.
    Owner,
}

impl Policy {
    /// The policy of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            opt_out: config.opt_out.clone(),
            reach: config.reach,
        }
    }

    /// Decides about one listener of this distro. What the configuration opts out stays private whatever else holds.
    #[must_use]
    pub fn decide(&self, socket: &Socket, facts: &impl Facts, surroundings: &Surroundings) -> Verdict {
        if let Some(rule) = self.opt_out.iter().find(|rule| rule.selector.matches(facts)) {
            return Verdict::Withhold {
                reason: format!(
                    "opted out by \"{}\" ({}:{})",
                    rule.text, rule.place.name, rule.place.line
                ),
                decided_by: DecidedBy::OptOut {
                    place: rule.place.clone(),
                    selector: rule.text.clone(),
                },
            };
        }
        if surroundings.mode != NetworkMode::Nat {
            let reason = format!(
                "WSL's networking mode is {}, and only nat is supported so far (networkingMode in .wslconfig)",
                surroundings.mode
            );
            return Verdict::Withhold {
                reason,
                decided_by: DecidedBy::Mode,
            };
        }
        match surroundings.bind_of(socket) {
            Ok(bind) => Verdict::Expose {
                bind,
                listen_port: socket.address.port(),
                reach: self.reach,
                name: None,
                decided_by: DecidedBy::Default,
            },
            Err(reason) => Verdict::Withhold {
                reason,
                decided_by: DecidedBy::Binding,
            },
        }
    }
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

    /// Whether the listener is shared.
    #[must_use]
    pub fn is_expose(&self) -> bool {
        matches!(self, Self::Expose { .. })
    }

    /// What said so.
    #[must_use]
    pub fn decided_by(&self) -> &DecidedBy {
        match self {
            Self::Expose { decided_by, .. } | Self::Withhold { decided_by, .. } => decided_by,
        }
    }
}

impl Surroundings {
    /// The surroundings as the kernel describes them, while there is no session. `peer_is_v6` says how the companion is
    /// reached.
    #[must_use]
    pub fn new(view: &NetworkView, mode: NetworkMode, peer_is_v6: bool) -> Self {
        let index = if peer_is_v6 {
            view.default_gateway_v6.map(|(_, index)| index)
        } else {
            view.default_gateway_v4.map(|(_, index)| index)
        };
        let default = index.and_then(|index| view.interfaces.get(&index).map(|iface| (index, iface)));
        let vm_addresses = if peer_is_v6 {
            // A gateway is usually known by its link-local address, which does not tell which of ours it will see.
            let addresses = default.iter().flat_map(|(_, iface)| &iface.addresses);
            addresses
                .map(|(address, _)| *address)
                .filter(IpAddr::is_ipv6)
                .collect()
        } else {
            view.vm_address().map(IpAddr::V4).into_iter().collect()
        };
        let addresses = view.interfaces.values().flat_map(|iface| {
            iface
                .addresses
                .iter()
                .map(|(address, _)| (*address, iface.name.clone()))
        });
        Self {
            mode,
            vm_addresses,
            default_interface: default.map(|(index, iface)| (index, iface.name.clone())),
            interfaces: view
                .interfaces
                .iter()
                .map(|(index, iface)| (*index, iface.name.clone()))
                .collect(),
            addresses: addresses.collect(),
            peer_is_v6,
        }
    }

    /// The same with a session that comes from `peer`: the companion dials that address and no other.
    #[must_use]
    pub fn dialled_at(mut self, peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        self.vm_addresses = BTreeSet::from([peer]);
        self.peer_is_v6 = peer.is_ipv6();
        if let Some(name) = self.addresses.get(&peer)
            && let Some((index, name)) = self.interfaces.iter().find(|(_, other)| *other == name)
        {
            self.default_interface = Some((*index, name.clone()));
        }
        self
    }

    /// How a dial to the VM's address meets the socket, or why none does.
    fn bind_of(&self, socket: &Socket) -> Result<Bind, String> {
        if let Some(index) = self.foreign_device(socket) {
            return Err(format!(
                "bound to the interface {} only (SO_BINDTODEVICE), and Windows reaches this VM by {}",
                self.interface_name(index),
                self.default_name()
            ));
        }
        if socket.is_loopback() {
            return Err(loopback_reason(socket));
        }
        if self.peer_is_v6 && !takes_v6(socket) {
            return Err("listens on IPv4 only, and the companion is reached by IPv6".to_owned());
        }
        if !self.peer_is_v6 && !takes_v4(socket) {
            return Err(
                "listens on IPv6 only, and WSL's NAT network is IPv4; listen on 0.0.0.0 (or on :: without IPV6_V6ONLY) to share it"
                    .to_owned(),
            );
        }
        let address = socket.canonical_ip();
        let bind = if socket.is_wildcard() {
            Bind::Wildcard
        } else if self.vm_addresses.contains(&address) {
            Bind::Address
        } else {
            let of = self.addresses.get(&address).map_or_else(
                || "which no interface has at the moment".to_owned(),
                |name| format!("the address of {name}"),
            );
            return Err(format!(
                "bound to {address}, {of}, and Windows reaches this VM by {}; bind to 0.0.0.0 to share it",
                self.dialled()
            ));
        };
        Ok(bind)
    }

    /// The device that a socket is bound to, if dials from Windows do not come in by it.
    fn foreign_device(&self, socket: &Socket) -> Option<u32> {
        let default = self.default_interface.as_ref().map(|(index, _)| *index);
        socket.interface.filter(|index| Some(*index) != default)
    }

    fn interface_name(&self, index: u32) -> String {
        self.interfaces
            .get(&index)
            .map_or_else(|| format!("number {index}"), Clone::clone)
    }

    /// The addresses that Windows dials, for people.
    fn dialled(&self) -> String {
        let addresses = self
            .vm_addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        if addresses.is_empty() {
            self.default_name().to_owned()
        } else {
            addresses.join(" or ")
        }
    }

    fn default_name(&self) -> &str {
        self.default_interface
            .as_ref()
            .map_or("no interface (there is no default route)", |(_, name)| name)
    }
}

/// Whether a socket accepts IPv4 connections at all. Where IPV6_V6ONLY is not known, `::` counts as dual-stack, which
/// is the kernel's default (net.ipv6.bindv6only).
fn takes_v4(socket: &Socket) -> bool {
    let address = socket.address.ip();
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) if v6.is_unspecified() => socket.v6only != Some(true),
        IpAddr::V6(_) => address.to_canonical().is_ipv4(),
    }
}

/// Whether a socket accepts IPv6 connections at all; one bound to a v4-mapped address does not.
fn takes_v6(socket: &Socket) -> bool {
    socket.address.ip().to_canonical().is_ipv6()
}

fn loopback_reason(socket: &Socket) -> String {
    let address = socket.canonical_ip();
    // WSL relays these two and no other address of 127.0.0.0/8 (research/wsl.md, localhost forwarding).
    let relayed = matches!(address.to_string().as_str(), "127.0.0.1" | "::1");
    let windows = if relayed {
        "; Windows' own localhost forwarding of WSL still reaches it at localhost"
    } else {
        ""
    };
    format!("bound to {address} only{windows}; bind to 0.0.0.0 to share it")
}

impl fmt::Display for DecidedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default: what is not opted out is shared"),
            Self::OptOut { place, selector } => write!(f, "opt-out \"{selector}\" at {place}"),
            Self::Mode => f.write_str("the networking mode of WSL"),
            Self::Binding => f.write_str("the address it is bound to"),
            Self::Owner => f.write_str("who holds the socket"),
        }
    }
}

#[cfg(test)]
mod tests;
