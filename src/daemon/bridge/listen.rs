//! Opens the port of a bridge: the wanted one, or another one where that is not to be had.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// The kernel cuts it to net.core.somaxconn (4096 by default).
const BACKLOG: i32 = 1024;

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    /// A wildcard, loopback or multicast address.
    #[error("{0} is not the address of a network interface, and a bridge is opened at nothing else")]
    NotConcrete(IpAddr),
    /// The address is not here, no longer or not yet.
    #[error("{0} is not an address of this machine now; it is tried again every second")]
    AddressGone(IpAddr),
    /// Anything else, such as too many open sockets.
    #[error("cannot listen on {0}; it is tried again every second")]
    System(IpAddr, #[source] io::Error),
}

/// Listens on this address, at `port` if it can be had, else at one that the kernel chooses.
///
/// It cannot be had when somebody else listens there, on a wildcard too; or when it is below 1024, as the daemon has no
/// CAP_NET_BIND_SERVICE.
///
/// # Errors
/// See [`ListenError`].
pub(super) fn listen(address: IpAddr, port: u16) -> Result<TcpListener, ListenError> {
    let ip = address.to_canonical();
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
        return Err(ListenError::NotConcrete(ip));
    }
    let listener = match bind(SocketAddr::new(ip, port)) {
        Err(error) if is_about_the_port(&error) => {
            tracing::debug!(%ip, port, %error, "a bridge gets another port than its service");
            bind(SocketAddr::new(ip, 0))
        }
        other => other,
    };
    listener.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrNotAvailable {
            ListenError::AddressGone(ip)
        } else {
            ListenError::System(ip, error)
        }
    })
}

fn is_about_the_port(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

/// `SO_REUSEADDR` on a port of our choice is there only so that former connections of the bridge, which drain or are in
/// TIME_WAIT, do not keep it from its port. On Linux it shares nothing: a socket in LISTEN, on a wildcard too, makes the
/// bind fail, and of two sockets that are bound and do not listen yet the second one cannot listen.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(address.port() != 0)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
