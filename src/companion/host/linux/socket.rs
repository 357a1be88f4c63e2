//! An exclusive socket. On Linux that is what every ordinary bind gives.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use wslnet_protocol::Protocol as Transport;

use crate::host::holder::PortHolder;

/// What to tell people about `EACCES`.
pub(in crate::host) const REFUSED: &str = "the system refuses this port: ports below 1024 need root or CAP_NET_BIND_SERVICE; let the service listen on another port";

/// The kernel cuts it to net.core.somaxconn (4096 by default).
const BACKLOG: i32 = 4096;

/// Raises the soft limit on open files to the hard one.
pub(in crate::host) fn allow_many_sockets() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Nobody: Linux itself refuses an address that a wildcard covers.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the Windows side reads a table, which can fail"
)]
pub(in crate::host) fn holders_to_avoid(_protocol: Transport) -> io::Result<Vec<PortHolder>> {
    Ok(Vec::new())
}

/// Binds and listens, non-blocking. The caller has checked that the address is concrete.
///
/// `SO_REUSEADDR` is there only so that connections in TIME_WAIT, left by a run that crashed, do not block the port for
/// a minute. Unlike on Windows it shares nothing: two sockets that both set it may *bind* the same address, but the
/// second `listen` fails, and a socket in LISTEN, on a wildcard too, makes the bind itself fail. So there is no need to look
/// at the table of listeners first.
pub(in crate::host) fn bind(address: SocketAddr, _listeners: &[PortHolder]) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds a UDP socket, non-blocking. The caller has checked that the address is concrete.
///
/// Without `SO_REUSEADDR` and `SO_REUSEPORT`, for UDP has no `listen` that would sort out who shares: two sockets that both set
/// one of them have the same address, and one of them gets the datagrams of both. The kernel lets two sockets share only if
/// both ask for it, so ours is alone, and a socket on the address or on a wildcard that covers it makes this fail. There
/// is nothing like TIME_WAIT that the option would be needed for.
pub(in crate::host) fn bind_udp(address: SocketAddr, _holders: &[PortHolder]) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use crate::host::linux::namespace::{in_namespace, ip};
    use crate::host::{BindError, BindRound, owner_of};
    use std::io::Read;
    use std::net::{IpAddr, TcpStream};
    use std::time::{Duration, Instant};

    const OWN: &str = "192.0.2.1:8000";
    const OTHER: &str = "192.0.2.2:8000";
    const OWN6: &str = "[2001:db8::1]:8000";

    /// A namespace with two IPv4 addresses and one IPv6 address beside loopback's own. Any address of a subnet on
    /// loopback would count as ours, hence the long prefixes.
    fn with_addresses(test: impl FnOnce() + Send + 'static) {
        in_namespace(|| {
            ip("link set lo up");
            ip("address add 192.0.2.1/32 dev lo");
            ip("address add 192.0.2.2/32 dev lo");
            ip("address add 2001:db8::1/128 dev lo nodad");
            test();
        });
    }

    #[expect(clippy::unwrap_in_result, reason = "the addresses are constants")]
    fn exclusive(address: &str) -> Result<TcpListener, BindError> {
        BindRound::default().bind_exclusive(address.parse().unwrap())
    }

    /// A listener as a careless program makes it: `SO_REUSEADDR`, IPv4 too on `[::]`.
    fn foreign(address: &str) -> TcpListener {
        let address: SocketAddr = address.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(1).unwrap();
        socket.into()
    }

    #[test]
    fn each_address_has_its_own_port() {
        with_addresses(|| {
            let _first = exclusive(OWN).unwrap();
            let _second = exclusive(OTHER).unwrap();
            let _third = exclusive(OWN6).unwrap();

            assert!(matches!(exclusive(OWN), Err(BindError::InUse)));
            assert!(matches!(exclusive(OWN6), Err(BindError::InUse)));
        });
    }

    #[test]
    fn a_listener_that_was_there_first_keeps_the_port() {
        with_addresses(|| {
            for (held, wanted) in [
                (OWN, OWN),
                ("0.0.0.0:8000", OWN),
                ("[::]:8000", OWN),
                ("[::]:8000", OWN6),
            ] {
                let holder = foreign(held);
                assert!(
                    matches!(exclusive(wanted), Err(BindError::InUse)),
                    "{held} against {wanted}"
                );
                let owner = owner_of(Transport::Tcp, wanted.parse().unwrap(), None).unwrap();
                assert_eq!(
                    (owner.address, owner.pid),
                    (held.parse().unwrap(), Some(std::process::id()))
                );
                drop(holder);
                drop(eventually(|| exclusive(wanted)));
            }
        });
    }

    /// A program that a parallel test has just started holds copies of all our sockets until it runs.
    fn eventually<T, E: std::fmt::Display>(mut bind: impl FnMut() -> Result<T, E>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match bind() {
                Ok(bound) => return bound,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn ipv4_wildcards_leave_ipv6_alone() {
        with_addresses(|| {
            let _holder = foreign("0.0.0.0:8000");

            exclusive(OWN6).unwrap();
        });
    }

    #[test]
    fn nobody_joins_our_port() {
        with_addresses(|| {
            let _ours = exclusive(OWN).unwrap();

            let thief = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            thief.set_reuse_address(true).unwrap();
            thief.set_reuse_port(true).unwrap();
            let address: SocketAddr = "0.0.0.0:8000".parse().unwrap();
            let stolen = thief.bind(&address.into()).and_then(|()| thief.listen(1));

            assert_eq!(stolen.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        });
    }

    #[test]
    fn a_port_that_another_bound_but_does_not_serve_yet_goes_to_the_first_listener() {
        with_addresses(|| {
            let address: SocketAddr = OWN.parse().unwrap();
            let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            waiting.set_reuse_address(true).unwrap();
            waiting.bind(&address.into()).unwrap();

            let _ours = exclusive(OWN).unwrap();

            assert_eq!(waiting.listen(1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        });
    }

    #[test]
    fn connections_in_time_wait_do_not_block_the_port() {
        with_addresses(|| {
            let listener = exclusive(OWN).unwrap();
            listener.set_nonblocking(false).unwrap();
            let mut client = TcpStream::connect(OWN).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            // Who closes first waits: our side must.
            drop(accepted);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            drop(client);
            drop(listener);
            let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
            assert!(
                table.lines().any(|l| l.contains(":1F40 ") && l.contains(" 06 ")),
                "no TIME_WAIT: {table}"
            );

            exclusive(OWN).unwrap();
        });
    }

    #[test]
    fn a_listener_takes_its_own_family_only() {
        with_addresses(|| {
            let listener = exclusive(OWN6).unwrap();

            assert!(socket2::SockRef::from(&listener).only_v6().unwrap());
            assert_eq!(
                listener.local_addr().unwrap().ip(),
                "2001:db8::1".parse::<IpAddr>().unwrap()
            );
        });
    }

    #[test]
    fn an_address_that_left_is_gone_and_can_come_back() {
        with_addresses(|| {
            ip("address del 192.0.2.2/32 dev lo");
            assert!(matches!(exclusive(OTHER), Err(BindError::AddressGone)));
            // Not beside the TCP test for all systems: Wine binds a UDP socket to an address that is not there.
            assert!(matches!(exclusive_udp(OTHER), Err(BindError::AddressGone)));

            ip("address add 192.0.2.2/32 dev lo");
            exclusive(OTHER).unwrap();
            exclusive_udp(OTHER).unwrap();
        });
    }

    #[expect(clippy::unwrap_in_result, reason = "the addresses are constants")]
    fn exclusive_udp(address: &str) -> Result<UdpSocket, BindError> {
        BindRound::default().bind_exclusive_udp(address.parse().unwrap())
    }

    /// A UDP socket that shares its address with whoever asks for the same, IPv4 too on `[::]`.
    #[expect(clippy::unwrap_in_result, reason = "the addresses are constants")]
    fn sharing_udp(address: &str) -> io::Result<UdpSocket> {
        let address: SocketAddr = address.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        Ok(socket.into())
    }

    #[test]
    fn each_address_has_its_own_udp_port_beside_the_tcp_one() {
        with_addresses(|| {
            let _tcp = exclusive(OWN).unwrap();
            let _first = exclusive_udp(OWN).unwrap();
            let _second = exclusive_udp(OTHER).unwrap();
            let _third = exclusive_udp(OWN6).unwrap();

            assert!(matches!(exclusive_udp(OWN), Err(BindError::InUse)));
            assert!(matches!(exclusive_udp(OWN6), Err(BindError::InUse)));
        });
    }

    #[test]
    fn a_udp_socket_that_was_there_first_keeps_the_port_however_it_would_share() {
        with_addresses(|| {
            for (held, wanted) in [
                (OWN, OWN),
                ("0.0.0.0:8000", OWN),
                ("[::]:8000", OWN),
                ("[::]:8000", OWN6),
                (OWN6, OWN6),
            ] {
                let holder = eventually(|| sharing_udp(held));
                assert!(
                    matches!(exclusive_udp(wanted), Err(BindError::InUse)),
                    "{held} against {wanted}"
                );
                let owner = owner_of(Transport::Udp, wanted.parse().unwrap(), None).unwrap();
                assert_eq!(
                    (owner.address, owner.pid),
                    (held.parse().unwrap(), Some(std::process::id()))
                );
                drop(holder);
                drop(eventually(|| exclusive_udp(wanted)));
            }
        });
    }

    #[test]
    fn a_client_that_has_the_udp_port_is_in_the_way_too() {
        with_addresses(|| {
            let client = sharing_udp(OWN).unwrap();
            client.connect(OTHER).unwrap();

            assert!(matches!(exclusive_udp(OWN), Err(BindError::InUse)));
            let owner = owner_of(Transport::Udp, OWN.parse().unwrap(), None).unwrap();
            assert_eq!(owner.pid, Some(std::process::id()));
        });
    }

    #[test]
    fn ipv4_wildcards_leave_udp_over_ipv6_alone() {
        with_addresses(|| {
            let _holder = sharing_udp("0.0.0.0:8000").unwrap();

            exclusive_udp(OWN6).unwrap();
        });
    }

    #[test]
    fn nobody_joins_our_udp_port() {
        with_addresses(|| {
            let _ours = exclusive_udp(OWN).unwrap();
            let _ours6 = exclusive_udp(OWN6).unwrap();

            for thief in [OWN, "0.0.0.0:8000", "[::]:8000", OWN6] {
                assert_eq!(
                    sharing_udp(thief).unwrap_err().kind(),
                    io::ErrorKind::AddrInUse,
                    "{thief}"
                );
            }
        });
    }

    #[test]
    fn our_udp_socket_does_not_block_and_takes_its_own_family_only() {
        with_addresses(|| {
            let socket = exclusive_udp(OWN6).unwrap();

            assert_eq!(
                socket.recv_from(&mut [0]).unwrap_err().kind(),
                io::ErrorKind::WouldBlock
            );
            assert!(socket2::SockRef::from(&socket).only_v6().unwrap());
        });
    }
}
