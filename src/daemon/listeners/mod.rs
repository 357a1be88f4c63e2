//! What is listening: the TCP sockets in LISTEN of this network namespace, and the bound UDP sockets without a peer that
//! somebody is interested in, as the kernel reports them.
//!
//! Nothing here knows who owns a socket; that is [`crate::labels`]. All distros of one WSL VM share the network
//! namespace, so a scan sees the sockets of every distro.

mod bell;
#[cfg(fuzzing)]
pub mod fuzzing;
mod order;
mod pace;
mod procfs;
mod sock_diag;
mod tracepoint;
mod udp;
mod wakeup;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use wslnet_protocol::Protocol;

use self::order::Order;
use self::udp::Udp;

pub use self::bell::{Bell, Chime, Ringer, bell};
pub(crate) use self::tracepoint::handover;
pub use self::udp::UdpInterest;
pub use self::wakeup::{Wake, WakeUp, WakeUpView};

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The bound address. A v4-mapped address (`::ffff:127.0.0.1`) stays an IPv6 address, and scope ids are 0.
    pub address: SocketAddr,
    /// IPV6_V6ONLY; `None` for IPv4, and where the source cannot know it (procfs).
    pub v6only: Option<bool>,
    /// The user who made the socket.
    pub uid: u32,
    /// Inode in sockfs, the number in `/proc/PID/fd/N -> socket:[NUMBER]`.
    pub inode: u64,
    /// The kernel's socket cookie: unique while the kernel runs. `None` from procfs.
    pub cookie: Option<u64>,
    /// Interface index when the socket is bound to a device (SO_BINDTODEVICE); `None` also from procfs.
    pub interface: Option<u32>,
}

/// A port of one protocol: TCP and UDP count theirs apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransportPort {
    /// The protocol.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
}

impl fmt::Display for TransportPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {}", self.protocol, self.number)
    }
}

/// Marks ids that are made from an inode. Cookies count up from 1 and never get here.
const INODE_ID: u64 = 1 << 63;

impl Socket {
    /// The identity of this listener: the socket cookie; or, from procfs, which has no cookies, the inode with the
    /// highest bit set.
    pub fn id(&self) -> u64 {
        self.cookie.unwrap_or(self.inode | INODE_ID)
    }

    /// Where it stands among others.
    fn place(&self) -> (Protocol, SocketAddr, u64) {
        (self.protocol, self.address, self.id())
    }

    /// As much of its place as a number holds: of two in order the first has the same number, or a smaller one.
    fn place_number(&self) -> u64 {
        let protocol = u64::from(self.protocol == Protocol::Udp) << 63;
        let port = u64::from(self.address.port());
        let address = match self.address.ip() {
            IpAddr::V4(v4) => u64::from(v4.to_bits()) << 16 | port,
            // The one that many share comes before all others, and they leave the order of ports to the place.
            IpAddr::V6(v6) if v6.is_unspecified() => 1 << 62 | port,
            IpAddr::V6(_) => 1 << 62 | 1 << 16,
        };
        protocol | address
    }

    /// The port on which it listens.
    pub fn port(&self) -> TransportPort {
        TransportPort {
            protocol: self.protocol,
            number: self.address.port(),
        }
    }

    /// Whether the socket accepts connections to every address: `0.0.0.0`, `::` or `::ffff:0.0.0.0`.
    pub fn is_wildcard(&self) -> bool {
        self.address.ip().to_canonical().is_unspecified()
    }

    /// Whether only this VM can reach the socket: `127.0.0.0/8`, `::1` or `::ffff:127.*`.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }

    /// The bound address as people write it; a v4-mapped address reads as IPv4.
    pub fn canonical_ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// Whether IPv4 reaches the socket at all. Where IPV6_V6ONLY is not known, `::` counts as dual-stack, which is the
    /// kernel's default (net.ipv6.bindv6only).
    pub fn takes_v4(&self) -> bool {
        match self.address.ip() {
            IpAddr::V4(_) => true,
            IpAddr::V6(v6) if v6.is_unspecified() => self.v6only != Some(true),
            IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
        }
    }

    /// Whether IPv6 reaches the socket at all; one that is bound to a v4-mapped address it does not.
    pub fn takes_v6(&self) -> bool {
        self.canonical_ip().is_ipv6()
    }
}

/// Where scans get their sockets from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// NETLINK_SOCK_DIAG, LISTEN only: the cost does not grow with the number of connections.
    SockDiag,
    /// `tcp`, `tcp6`, `udp` and `udp6` in `/proc/self/net`: works in every kernel, costs milliseconds.
    Procfs,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SockDiag => "sock-diag",
            Self::Procfs => "procfs",
        })
    }
}

/// Which source the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceChoice {
    /// sock_diag, or procfs where the kernel has no sock_diag.
    Auto,
    /// sock_diag, or an error.
    SockDiag,
    /// procfs.
    Procfs,
}

/// No source of listening sockets could be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel does not answer sock_diag requests.
    #[error("cannot list listening sockets with sock_diag (set source = \"auto\" or \"procfs\")")]
    SockDiag(#[source] io::Error),
    /// `/proc/self/net` cannot be read.
    #[error("cannot list listening sockets from /proc/self/net (is /proc mounted?)")]
    Procfs(#[source] io::Error),
}

/// Lists the listening sockets of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Scanner {
    tcp: Reader,
    /// `None` where no UDP socket is of interest: then the kernel is not even asked.
    udp: Option<Udp>,
    order: Order,
}

#[derive(Debug)]
enum Reader {
    SockDiag(sock_diag::Dump),
    Procfs,
}

impl Scanner {
    /// Opens a source and tries it once, so that a scanner that opens also works.
    ///
    /// # Errors
    /// When the chosen source does not work; for [`SourceChoice::Auto`] when none does.
    pub fn open(choice: SourceChoice, udp: UdpInterest) -> Result<Self, OpenError> {
        let tcp = Reader::open(choice, Protocol::Tcp)?;
        let udp = if udp.is_none() {
            None
        } else {
            Some(Udp::new(Reader::open(choice, Protocol::Udp)?, udp))
        };
        Ok(Self {
            tcp,
            udp,
            order: Order::default(),
        })
    }

    /// All listening sockets, sorted by protocol, address and port, then identity.
    ///
    /// # Errors
    /// When the kernel did not give a complete answer. That never means that nothing listens.
    pub fn scan(&mut self) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::new();
        self.scan_into(&mut sockets)?;
        Ok(sockets)
    }

    /// The same, in place of what is in `sockets`. With sock_diag nothing is allocated once there is room for all.
    ///
    /// # Errors
    /// As for [`Scanner::scan`]; what is in `sockets` is then of no meaning.
    pub fn scan_into(&mut self, sockets: &mut Vec<Socket>) -> io::Result<()> {
        sockets.clear();
        self.tcp.listeners(Protocol::Tcp, sockets)?;
        if let Some(udp) = &mut self.udp {
            sockets.extend_from_slice(udp.listeners()?);
        }
        self.order.sort(sockets);
        // A dump that spans several reads may meet a socket twice when others come or go in between.
        sockets.dedup_by_key(|socket| socket.place());
        Ok(())
    }

    /// The source that is in use, for TCP at least.
    pub fn source_in_use(&self) -> Source {
        match self.tcp {
            Reader::SockDiag(_) => Source::SockDiag,
            Reader::Procfs => Source::Procfs,
        }
    }
}

impl Reader {
    /// Opens a source for one protocol and tries it once. A kernel may have sock_diag for TCP and not for UDP.
    fn open(choice: SourceChoice, protocol: Protocol) -> Result<Self, OpenError> {
        match choice {
            SourceChoice::SockDiag => Self::sock_diag(protocol).map_err(OpenError::SockDiag),
            SourceChoice::Procfs => Self::procfs(protocol).map_err(OpenError::Procfs),
            SourceChoice::Auto => Self::sock_diag(protocol).or_else(|reason| {
                tracing::warn!(
                    %reason,
                    %protocol,
                    "sock_diag does not work here, reading /proc/self/net instead: scans cost more"
                );
                Self::procfs(protocol).map_err(OpenError::Procfs)
            }),
        }
    }

    fn sock_diag(protocol: Protocol) -> io::Result<Self> {
        let mut dump = sock_diag::Dump::default();
        dump.listeners(protocol, &mut Vec::new())?;
        Ok(Self::SockDiag(dump))
    }

    fn procfs(protocol: Protocol) -> io::Result<Self> {
        procfs::listeners(protocol)?;
        Ok(Self::Procfs)
    }

    /// Adds all listening sockets of a protocol, in no order.
    fn listeners(&mut self, protocol: Protocol, sockets: &mut Vec<Socket>) -> io::Result<()> {
        match self {
            Self::SockDiag(dump) => dump.listeners(protocol, sockets),
            Self::Procfs => {
                sockets.extend(procfs::listeners(protocol)?);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
