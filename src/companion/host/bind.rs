//! The one way to open a port, TCP or UDP: exclusively, and on one concrete address.
//!
//! The rule "never a wildcard" is enforced here, at the last line, whatever the plan says: a wildcard would take
//! Windows' own ports, and would stop WSL's localhost forwarding, which never tries a second time.
//!
//! **Loopback** belongs to that forwarding (`wslrelay.exe`), too: it binds 127.0.0.1 at the port of each TCP listener that the VM has
//! on 0.0.0.0 or 127.0.0.1, with `SO_REUSEADDR`, and [`BindRound::bind_loopback_gap`] is the one door to what it leaves free. Which
//! of two comes first matters:
//! - *WSL first.* Our exclusive bind beside it fails (10048), and we let it be. A wildcard is seen in the table of sockets.
//! - *We first.* WSL's bind fails (10013), silently and for good, and nothing here would notice. So this door is only for forwards of
//!   which the distro says that WSL will not come, and they leave as soon as it says otherwise: it sees every listener of the VM within
//!   a tenth of a second, and WSL looks once a second. Their connections end with the listener: while one lives that an exclusive
//!   socket accepted, all binds to its port fail.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use wslnet_protocol::Protocol;

use super::{PortHolder, interface, platform};

/// Why a port could not be opened. The text names what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody is there already, on this address or on a wildcard.
    #[error(
        "the port is taken: stop the program that has it, or let the service in the distro listen on another port"
    )]
    InUse,
    /// The system forbids it. Windows error 10013: the port lies in an excluded range, or a program of another user
    /// holds it exclusively. Linux: `EACCES`.
    #[error("{}", platform::REFUSED)]
    Refused,
    /// The address is not on this machine, no longer or not yet.
    #[error("the address is not on this machine now: it is tried again when the addresses change")]
    AddressGone,
    /// A wildcard, loopback, multicast, broadcast or IPv6 link-local address, which is never opened.
    #[error("{0} is not the address of one network interface: name a concrete address")]
    NotConcrete(IpAddr),
    /// Anything else, such as too many open sockets.
    #[error("the socket could not be opened")]
    Other(#[source] io::Error),
}

impl BindError {
    /// Whether somebody else has the port, or the system keeps it.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::InUse | Self::Refused => true,
            Self::AddressGone | Self::NotConcrete(_) | Self::Other(_) => false,
        }
    }
}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        // 10048, 10013 and 10049 on Windows; the standard library maps them to these kinds on both systems.
        #[expect(clippy::wildcard_enum_match_arm, reason = "the list of kinds is open")]
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse,
            io::ErrorKind::PermissionDenied => Self::Refused,
            io::ErrorKind::AddrNotAvailable => Self::AddressGone,
            _ => Self::Other(error),
        }
    }
}

/// A round of binds. Windows' table of sockets is read for the first of each protocol and serves the others, so a round
/// should be over quickly.
#[derive(Debug, Default)]
pub struct BindRound {
    tcp: Option<Vec<PortHolder>>,
    udp: Option<Vec<PortHolder>>,
}

impl BindRound {
    /// Listens on one network address so that nobody else can listen there as well. The socket is non-blocking.
    ///
    /// An IPv6 address takes IPv6 connections only. When somebody listens on a wildcard that covers the address, the
    /// answer is [`BindError::InUse`] on every system: Windows by itself would let us take that program's connections
    /// away.
    ///
    /// # Errors
    /// See [`BindError`]; loopback and wildcard addresses are refused without asking the system.
    pub fn bind_exclusive(&mut self, address: SocketAddr) -> Result<TcpListener, BindError> {
        check_network_address(address.ip())?;
        self.bind(address)
    }

    /// Binds a UDP socket to one network address so that nobody else can have it as well. The socket is non-blocking. The
    /// rules are those of [`BindRound::bind_exclusive`]; in the way is whoever is bound to the port, for UDP knows no
    /// listeners.
    ///
    /// # Errors
    /// See [`BindError`]; loopback and wildcard addresses are refused without asking the system.
    pub fn bind_exclusive_udp(&mut self, address: SocketAddr) -> Result<UdpSocket, BindError> {
        check_network_address(address.ip())?;
        self.bind_udp(address)
    }

    /// Listens on Windows' own 127.0.0.1, where WSL's localhost forwarding leaves the port free. Only for a forward whose distro says
    /// that it does: see the text of this module. Otherwise as [`BindRound::bind_exclusive`].
    ///
    /// # Errors
    /// See [`BindError`]; [`BindError::InUse`] where anybody is there, WSL or not.
    pub fn bind_loopback_gap(&mut self, port: u16) -> Result<TcpListener, BindError> {
        self.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// Binds a UDP socket to Windows' own 127.0.0.1. WSL forwards no UDP, so whoever is there is another program.
    ///
    /// # Errors
    /// See [`BindRound::bind_loopback_gap`].
    pub fn bind_loopback_gap_udp(&mut self, port: u16) -> Result<UdpSocket, BindError> {
        self.bind_udp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    fn bind_udp(&mut self, address: SocketAddr) -> Result<UdpSocket, BindError> {
        let holders = table(&mut self.udp, Protocol::Udp)?;
        Ok(platform::bind_udp(address, holders)?)
    }

    fn bind(&mut self, address: SocketAddr) -> Result<TcpListener, BindError> {
        let listeners = table(&mut self.tcp, Protocol::Tcp)?;
        Ok(platform::bind(address, listeners)?)
    }
}

/// The table of the round, read if it was not yet.
fn table(known: &mut Option<Vec<PortHolder>>, protocol: Protocol) -> io::Result<&[PortHolder]> {
    Ok(match known {
        Some(holders) => holders,
        none => none.insert(platform::holders_to_avoid(protocol)?),
    })
}

/// As [`BindRound::bind_exclusive`], but loopback is allowed: for the companion's own control port, which lives on
/// 127.0.0.1 in the modes where Windows and the VM share it. Never for a forward.
///
/// # Errors
/// See [`BindError`].
pub fn bind_control(address: SocketAddr) -> Result<TcpListener, BindError> {
    if !is_unicast(address.ip()) {
        return Err(BindError::NotConcrete(address.ip()));
    }
    BindRound::default().bind(address)
}

/// Whether a forward may listen at this address: see [`BindError::NotConcrete`].
pub(crate) fn check_network_address(ip: IpAddr) -> Result<(), BindError> {
    if is_unicast(ip) && !ip.is_loopback() && !interface::is_ipv6_link_local(ip) {
        Ok(())
    } else {
        Err(BindError::NotConcrete(ip))
    }
}

/// Whether the address can name one interface. IPv4 in IPv6 clothes cannot: such a socket would serve IPv4.
fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && ip.to_ipv4_mapped().is_none(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn no_address_but_a_concrete_one_reaches_the_system() {
        for address in [
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "127.8.9.10",
            "::1",
            "::ffff:0.0.0.0",
            "::ffff:127.0.0.1",
            "::ffff:192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "fe80::1",
        ] {
            let address: IpAddr = address.parse().unwrap();
            let wanted = SocketAddr::new(address, 0);
            let tcp = BindRound::default().bind_exclusive(wanted).unwrap_err();
            let udp = BindRound::default().bind_exclusive_udp(wanted).unwrap_err();
            for error in [tcp, udp] {
                assert!(
                    matches!(error, BindError::NotConcrete(ip) if ip == address),
                    "{address}: {error:?}"
                );
            }
        }
    }

    #[test]
    fn the_control_port_may_be_loopback_but_no_wildcard() {
        let socket = bind_control(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        assert!(socket.local_addr().unwrap().ip().is_loopback());

        for address in ["0.0.0.0:0", "[::]:0"] {
            assert!(matches!(
                bind_control(address.parse().unwrap()),
                Err(BindError::NotConcrete(_))
            ));
        }
    }

    #[test]
    fn the_loopback_gap_is_one_address_and_taken_once() {
        let tcp = BindRound::default().bind_loopback_gap(0).unwrap();
        let udp = BindRound::default().bind_loopback_gap_udp(0).unwrap();
        let (tcp, udp) = (&tcp.local_addr().unwrap(), &udp.local_addr().unwrap());

        assert_eq!(
            (tcp.ip(), udp.ip()),
            (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into())
        );
        let again = BindRound::default().bind_loopback_gap(tcp.port());
        assert!(matches!(again, Err(BindError::InUse)), "{again:?}");
        let again = BindRound::default().bind_loopback_gap_udp(udp.port());
        assert!(matches!(again, Err(BindError::InUse)), "{again:?}");
    }

    #[test]
    fn a_gap_that_anybody_fills_is_none() {
        for held in ["127.0.0.1:0", "0.0.0.0:0"] {
            let holder = TcpListener::bind(held).unwrap();
            let port = holder.local_addr().unwrap().port();

            let gap = BindRound::default().bind_loopback_gap(port);

            assert!(matches!(gap, Err(BindError::InUse)), "{held}: {gap:?}");
        }
    }

    #[test]
    fn the_listener_does_not_block() {
        let socket = bind_control(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();

        assert_eq!(socket.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_port_is_taken_once() {
        let first = bind_control(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = first.local_addr().unwrap();

        assert!(matches!(bind_control(address), Err(BindError::InUse)));

        drop(first);
        bind_control(address).unwrap();
    }

    #[test]
    fn a_wildcard_listener_keeps_its_port() {
        let holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();

        assert!(matches!(
            bind_control(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            Err(BindError::InUse)
        ));
    }

    #[test]
    fn an_address_of_another_machine_is_gone() {
        // TEST-NET-2: nobody's address.
        let error = BindRound::default()
            .bind_exclusive("198.51.100.77:9000".parse().unwrap())
            .unwrap_err();

        assert!(matches!(error, BindError::AddressGone), "{error:?}");
    }

    #[test]
    fn every_text_stands_alone() {
        for error in [
            BindError::InUse,
            BindError::Refused,
            BindError::AddressGone,
            BindError::NotConcrete(Ipv4Addr::UNSPECIFIED.into()),
            BindError::Other(io::Error::other("secret of the source")),
        ] {
            let text = error.to_string();
            assert!(text.len() > 20 && !text.contains("source"), "{text}");
        }
    }
}
