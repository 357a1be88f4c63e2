//! What the companion knows of the machine it runs on: addresses, who listens where, a clock that ignores sleep, and
//! the one way in which it may open a port.
//!
//! This page is the whole interface. The types and everything that can be decided without asking the system live in
//! the modules beside it; `linux/` and `windows/` answer the questions, with the same signatures. Nothing here knows
//! of forwards, sessions or policy, and nothing here keeps state between two calls except [`ChangeWatch`], [`NetworkWatch`],
//! [`SleepWatch`] and [`Obstacles`].

// Only Windows has calls that go there; its tests run everywhere.
#[cfg(any(windows, test))]
mod aside;
mod awake;
mod bind;
mod category;
mod changes;
mod excluded;
mod holder;
mod interface;
#[cfg(target_os = "linux")]
mod linux;
mod networks;
mod obstacle;
pub mod portproxy;
mod service;
mod sockets;
#[cfg(windows)]
mod windows;

use std::io;

#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(windows)]
use windows as platform;

#[cfg(windows)]
pub(crate) use aside::{Aside, NoAnswer};
pub use awake::{Awake, SleepWatch, awake};
pub(crate) use bind::check_network_address;
pub use bind::{BindError, BindRound, bind_control};
pub use category::{Categories, Category};
pub use changes::{ChangeWatch, watch_changes};
pub use holder::{PortHolder, holder_of};
pub use interface::{Interface, InterfaceAddress, interface_of, is_wsl_adapter, wsl_adapter};
pub use networks::{NetworkWatch, Networks, watch_networks};
pub(crate) use obstacle::describe;
pub use obstacle::{Obstacle, Obstacles};
#[cfg(all(test, target_os = "linux"))]
pub(crate) use platform::{TableRow, rows};
pub use service::Service;
pub use sockets::{Sockets, owner_of};
#[cfg(windows)]
pub use windows::Stamp;
#[cfg(windows)]
pub(crate) use windows::{
    Access, Key, PORTPROXY, Process, ServiceHandle, com, end_this_process, is_missing_key,
    pipe_client_process, pipe_server_process, portproxy_entries, portproxy_stamp, service, system_directory,
    table_key, wide,
};

/// The network interfaces of this machine, by index, each with its addresses in order and without a category, which
/// [`Networks::apply`] writes down.
///
/// IPv6 link-local addresses are left out: they mean nothing without a zone, which neither a forward nor a browser's
/// address bar can carry, and every interface has one, so each port would cost another socket that nobody reaches.
///
/// # Errors
/// When the system does not give out the list (`GetAdaptersAddresses`, or a netlink dump on Linux).
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut interfaces = platform::interfaces()?;
    for interface in &mut interfaces {
        interface
            .addresses
            .retain(|a| !interface::is_ipv6_link_local(a.address));
        interface.addresses.sort();
        interface.addresses.dedup_by_key(|a| a.address);
    }
    interfaces.sort_by(|a, b| (a.index, &a.name).cmp(&(b.index, &b.name)));
    Ok(interfaces)
}

/// Whether a port is held for WSL's virtual machine and not by a program of Windows: in the modes in which the two share ports.
pub fn is_of_wsl(holder: &PortHolder) -> bool {
    platform::is_of_wsl(holder)
}

/// All TCP sockets in LISTEN, on Windows with their processes' ids: a snapshot, to look at many ports at once.
///
/// # Errors
/// When the system does not give out the table.
pub fn listeners() -> io::Result<Vec<PortHolder>> {
    platform::listeners()
}

/// The name of this machine, in lower case and without a domain; `None` if the system does not tell it.
pub fn own_name() -> Option<String> {
    let name = platform::own_name()?.to_lowercase();
    name.split('.').next().map(str::to_owned)
}

/// Lets this process have as many sockets open as the system grants. Linux starts programs with room for 1,024 files,
/// fewer than the forwards of one distro may need; Windows has no such limit.
pub fn allow_many_sockets() {
    if let Err(error) = platform::allow_many_sockets() {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

    use wslnet_protocol::Protocol;

    #[test]
    fn loopback_is_found_and_marked() {
        let interfaces = interfaces().unwrap();

        let lo = interface_of(&interfaces, Ipv4Addr::LOCALHOST.into()).unwrap();
        assert!(lo.loopback);
        assert!(!lo.name.is_empty());
        assert!(
            lo.addresses
                .iter()
                .any(|a| a.address == Ipv4Addr::LOCALHOST && a.prefix_length == 8)
        );
    }

    #[test]
    fn the_machine_has_a_name() {
        assert!(own_name().is_some_and(|name| !name.is_empty()));
    }

    #[test]
    fn two_looks_at_an_unchanged_machine_agree() {
        assert_eq!(interfaces().unwrap(), interfaces().unwrap());
    }

    #[test]
    fn a_listener_is_in_the_table_and_leaves_it() {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();

        let is_listed = || listeners().unwrap().iter().any(|held| held.address == address);
        assert_eq!(owner_of(Protocol::Tcp, address, None).unwrap().address, address);
        assert!(is_listed());

        drop(socket);
        assert_eq!(owner_of(Protocol::Tcp, address, None), None);
        assert!(!is_listed());
    }

    #[test]
    fn a_wildcard_listener_owns_each_address() {
        let socket = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();

        let owner = owner_of(Protocol::Tcp, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), None).unwrap();

        assert_eq!(owner.address, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }

    #[test]
    fn each_protocol_has_a_table_of_its_own() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();

        assert_eq!(owner_of(Protocol::Udp, address, None).unwrap().address, address);
        assert_eq!(owner_of(Protocol::Tcp, address, None), None);

        drop(socket);
        assert_eq!(owner_of(Protocol::Udp, address, None), None);
    }
}
