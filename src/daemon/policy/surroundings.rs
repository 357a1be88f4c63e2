//! Where the listeners live: how Windows reaches the VM, and what a dial from there meets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use wslnet_protocol::Bind;

use crate::listeners::Socket;
use crate::network::{NetworkMode, NetworkView};

/// Where the listeners live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// How WSL connects the VM to the network.
    pub mode: NetworkMode,
    /// Where the companion dials the VM: the address from which the session comes. While there is no session, the
    /// addresses by which the network of the default gateway may know the VM. Where Windows shares the VM's ports, and where the VM is on
    /// the local network itself, those of all interfaces that have a default route.
    pub vm_addresses: BTreeSet<IpAddr>,
    /// The interface by which Windows comes in: index and name. The one of the default route, unless the session comes
    /// from an address of another.
    pub default_interface: Option<(u32, String)>,
    /// The interfaces with a default route: where Windows shares the VM's ports they are its own.
    pub default_interfaces: BTreeSet<u32>,
    /// The names of all interfaces, by index.
    pub interfaces: BTreeMap<u32, String>,
    /// Which interface has which address, those of the default route included.
    pub addresses: BTreeMap<IpAddr, String>,
    /// Whether the companion is reached by IPv6, and so dials the VM by IPv6; else by IPv4.
    pub peer_is_v6: bool,
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
        let of_defaults = || {
            let interfaces = view
                .interfaces
                .iter()
                .filter(|(index, _)| view.default_interfaces.contains(*index));
            let addresses = interfaces.flat_map(|(_, iface)| &iface.addresses);
            addresses.map(|(address, _)| *address).collect()
        };
        let vm_addresses = if mode.shares_ports() || mode == NetworkMode::Bridged {
            of_defaults()
        } else if peer_is_v6 {
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
            default_interfaces: view.default_interfaces.clone(),
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

    /// Whether Windows has the VM's ports as its own, so that nothing is dialled.
    #[must_use]
    pub fn shares_ports(&self) -> bool {
        self.mode.shares_ports()
    }

    /// The same with a session that comes from `peer`: the companion dials that address and no other. It dials none where it shares
    /// the VM's ports.
    #[must_use]
    pub fn dialled_at(mut self, peer: IpAddr) -> Self {
        if self.shares_ports() {
            return self;
        }
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
    pub(super) fn bind_of(&self, socket: &Socket) -> Result<Bind, String> {
        if let Some(index) = self.foreign_device(socket) {
            return Err(format!(
                "bound to the interface {} only (SO_BINDTODEVICE), and Windows reaches this VM by {}",
                self.interface_name(index),
                self.default_name()
            ));
        }
        if self.shares_ports() {
            return self.shared_bind_of(socket);
        }
        if self.peer_is_v6 && !socket.takes_v6() {
            return Err("listens on IPv4 only, and the companion is reached by IPv6".to_owned());
        }
        if !self.peer_is_v6 && !socket.takes_v4() {
            return Err(
                "listens on IPv6 only, and WSL's NAT network is IPv4; listen on 0.0.0.0 (or on :: without IPV6_V6ONLY) to share it"
                    .to_owned(),
            );
        }
        if socket.is_wildcard() {
            return Ok(Bind::Wildcard);
        }
        self.bind_to_address(socket)
    }

    /// The same where Windows has the VM's ports, over both families. Its 127.0.0.1 is IPv4, so what listens on IPv6 alone is not there.
    fn shared_bind_of(&self, socket: &Socket) -> Result<Bind, String> {
        match (socket.is_wildcard(), socket.takes_v4()) {
            (true, true) => Ok(Bind::Wildcard),
            (true, false) => Ok(Bind::Address),
            (false, _) => self.bind_to_address(socket),
        }
    }

    fn bind_to_address(&self, socket: &Socket) -> Result<Bind, String> {
        let address = socket.canonical_ip();
        if self.vm_addresses.contains(&address) {
            return Ok(Bind::Address);
        }
        let of = self.addresses.get(&address).map_or_else(
            || "which no interface has at the moment".to_owned(),
            |name| format!("the address of {name}"),
        );
        Err(format!(
            "bound to {address}, {of}, and Windows reaches this VM by {}; bind to 0.0.0.0 to share it",
            self.dialled()
        ))
    }

    /// The families in which what comes from Windows arrives, true for IPv6, each with the addresses at which it may.
    pub(super) fn arrivals(&self) -> Vec<(bool, Vec<IpAddr>)> {
        if self.shares_ports() {
            // At whatever address of Windows: which of these the VM has for itself alone is not known.
            let of = |is_v6: bool| {
                let addresses = self.addresses.keys().filter(|address| !address.is_loopback());
                addresses
                    .filter(move |address| address.is_ipv6() == is_v6)
                    .copied()
            };
            return [false, true].map(|is_v6| (is_v6, of(is_v6).collect())).to_vec();
        }
        let addresses = self.vm_addresses.iter().copied();
        let dialled = addresses.filter(|address| address.is_ipv6() == self.peer_is_v6);
        vec![(self.peer_is_v6, dialled.collect())]
    }

    /// The device that a socket is bound to, if dials from Windows do not come in by it.
    pub(super) fn foreign_device(&self, socket: &Socket) -> Option<u32> {
        let default = self.default_interface.as_ref().map(|(index, _)| *index);
        socket.interface.filter(|index| {
            if self.shares_ports() {
                !self.default_interfaces.contains(index)
            } else {
                Some(*index) != default
            }
        })
    }

    /// The interface that a socket is bound to, by device or by address; none for a wildcard.
    #[must_use]
    pub fn interface_of(&self, socket: &Socket) -> Option<&str> {
        match socket.interface {
            Some(index) => self.interfaces.get(&index).map(String::as_str),
            None => self.addresses.get(&socket.canonical_ip()).map(String::as_str),
        }
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
