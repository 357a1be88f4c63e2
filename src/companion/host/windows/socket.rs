//! An exclusive socket on Windows, where an ordinary one can be taken over.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::windows::io::AsRawSocket;

use socket2::{Domain, Protocol, Socket, Type};
use windows_sys::Win32::Networking::WinSock::{
    SO_EXCLUSIVEADDRUSE, SOCKET, SOCKET_ERROR, SOL_SOCKET, WSAGetLastError, setsockopt,
};
use wslnet_protocol::Protocol as Transport;

use super::table;
use crate::host::holder::PortHolder;

/// What to tell people about error 10013 (WSAEACCES).
pub(in crate::host) const REFUSED: &str = "Windows refuses this port and does not say why: a program of another user may hold it, or \
    a security product; let the service listen on another port, or give the forward another one with `listen-port`";

/// `SOMAXCONN_HINT(4096)` of winsock2.h: a negative number is taken as given, a positive one is cut to 200.
const BACKLOG: i32 = -4096;

/// Nothing to do: Windows gives a process as many sockets as there is memory for.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the Linux side raises a limit, which can fail"
)]
pub(in crate::host) fn allow_many_sockets() -> io::Result<()> {
    Ok(())
}

/// The sockets that [`bind`] or [`bind_udp`] has to look at by itself, because Windows would let us bind beside them.
pub(in crate::host) fn holders_to_avoid(protocol: Transport) -> io::Result<Vec<PortHolder>> {
    table::rows(protocol)
}

/// Binds and listens, non-blocking. The caller has checked that the address is concrete.
///
/// `SO_EXCLUSIVEADDRUSE` keeps everyone, with `SO_REUSEADDR` or not, off our port later. It does not keep us off
/// others': as the same user, an exclusive bind of one address goes through beside a program on the wildcard
/// and takes that address' connections away from it (Microsoft, "Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE").
/// Hence the look at the table first. Only wildcards are looked for there, because the
/// system itself refuses an address that is held, and the caller's table may still show a listener that it has closed
/// since. A program that starts between the look and the bind loses; there is no lock against that.
pub(in crate::host) fn bind(address: SocketAddr, listeners: &[PortHolder]) -> io::Result<TcpListener> {
    let socket = bound(address, Type::STREAM, Protocol::TCP, listeners)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds a UDP socket, non-blocking. The caller has checked that the address is concrete. Windows' rules about who may bind
/// beside whom are the same for UDP, and so is what [`bind`] says of them; only that the table shows clients too, whose
/// ports are no more ours to take.
pub(in crate::host) fn bind_udp(address: SocketAddr, holders: &[PortHolder]) -> io::Result<UdpSocket> {
    Ok(bound(address, Type::DGRAM, Protocol::UDP, holders)?.into())
}

fn bound(address: SocketAddr, kind: Type, protocol: Protocol, holders: &[PortHolder]) -> io::Result<Socket> {
    if has_wildcard(holders, address) {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    set_exclusive(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn has_wildcard(holders: &[PortHolder], address: SocketAddr) -> bool {
    holders
        .iter()
        .any(|l| l.address.ip().is_unspecified() && l.is_in_the_way_of(address))
}

/// socket2 has no setter for this one.
fn set_exclusive(socket: &Socket) -> io::Result<()> {
    let on: i32 = 1;
    // SAFETY: the socket is open while borrowed, and the value is a live BOOL of the size given.
    let result = unsafe {
        setsockopt(
            socket.as_raw_socket() as SOCKET,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            (&raw const on).cast(),
            size_of::<i32>() as i32,
        )
    };
    if result == SOCKET_ERROR {
        // SAFETY: takes nothing and reads the calling thread's own error.
        return Err(io::Error::from_raw_os_error(unsafe { WSAGetLastError() }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use crate::host::windows::wine::assert_owner;
    use crate::host::{BindError, BindRound, interfaces, owner_of};
    use std::net::{IpAddr, Ipv4Addr};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    use windows_sys::Win32::Networking::WinSock::getsockopt;

    /// Names the file in which the other program writes its address.
    const HOLDER: &str = "WSLNET_TEST_HOLDER";

    fn bind_exclusive(address: SocketAddr) -> Result<TcpListener, BindError> {
        BindRound::default().bind_exclusive(address)
    }

    fn bind_exclusive_udp(address: SocketAddr) -> Result<UdpSocket, BindError> {
        BindRound::default().bind_exclusive_udp(address)
    }

    /// An IPv4 address of this machine on a network.
    fn own_address() -> IpAddr {
        let all = interfaces().unwrap();
        let up = all.iter().filter(|i| i.up && !i.loopback);
        up.flat_map(|i| &i.addresses)
            .find(|a| a.address.is_ipv4() && a.preferred)
            .unwrap()
            .address
    }

    #[test]
    fn nobody_joins_our_port() {
        let ours = bind_exclusive(SocketAddr::new(own_address(), 0)).unwrap();
        let address = ours.local_addr().unwrap();

        let thief = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        thief.set_reuse_address(true).unwrap();

        assert!(thief.bind(&address.into()).is_err());
        assert!(matches!(bind_exclusive(address), Err(BindError::InUse)));
    }

    #[test]
    fn a_program_on_the_wildcard_keeps_all_its_connections() {
        let holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let address = SocketAddr::new(own_address(), holder.local_addr().unwrap().port());

        assert!(matches!(bind_exclusive(address), Err(BindError::InUse)));
        let owner = owner_of(Transport::Tcp, address, None).unwrap();
        assert_eq!(owner.address, holder.local_addr().unwrap());

        drop(holder);
        bind_exclusive(address).unwrap();
    }

    #[test]
    fn our_sockets_are_exclusive() {
        let listener = bind_exclusive(SocketAddr::new(own_address(), 0)).unwrap();
        let udp = bind_exclusive_udp(SocketAddr::new(own_address(), 0)).unwrap();

        for socket in [listener.as_raw_socket(), udp.as_raw_socket()] {
            let (mut value, mut size) = (0_i32, size_of::<i32>() as i32);
            // SAFETY: the socket is open, and both pointers are to live values of the right size.
            let result = unsafe {
                getsockopt(
                    socket as SOCKET,
                    SOL_SOCKET,
                    SO_EXCLUSIVEADDRUSE,
                    (&raw mut value).cast(),
                    &raw mut size,
                )
            };
            assert_eq!((result, value), (0, 1));
        }
    }

    #[test]
    fn nobody_joins_our_udp_port() {
        let ours = bind_exclusive_udp(SocketAddr::new(own_address(), 0)).unwrap();
        let address = ours.local_addr().unwrap();

        let thief = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        thief.set_reuse_address(true).unwrap();

        assert!(thief.bind(&address.into()).is_err());
        assert!(matches!(bind_exclusive_udp(address), Err(BindError::InUse)));
        assert_eq!(
            ours.recv_from(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn a_program_on_the_udp_wildcard_keeps_its_port() {
        let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let address = SocketAddr::new(own_address(), holder.local_addr().unwrap().port());

        assert!(matches!(bind_exclusive_udp(address), Err(BindError::InUse)));
        let owner = owner_of(Transport::Udp, address, None).unwrap();
        assert_eq!(owner.address, holder.local_addr().unwrap());
        assert_owner(owner.pid, std::process::id());

        drop(holder);
        bind_exclusive_udp(address).unwrap();
    }

    #[test]
    fn tcp_and_udp_do_not_mind_each_other() {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let address = SocketAddr::new(own_address(), listener.local_addr().unwrap().port());

        bind_exclusive_udp(address).unwrap();
    }

    #[test]
    fn the_callers_table_counts_for_udp_and_only_its_wildcards() {
        let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let wildcard = table::rows(Transport::Udp).unwrap();
        let address = SocketAddr::new(own_address(), holder.local_addr().unwrap().port());
        drop(holder);
        // Made by hand: Wine binds every UDP socket to the wildcard, and shows that.
        let concrete = PortHolder {
            address,
            pid: None,
            image: None,
        };

        assert!(matches!(
            bind_udp(address, &wildcard).map_err(BindError::from),
            Err(BindError::InUse)
        ));
        bind_udp(address, &[concrete]).unwrap();
    }

    /// Does nothing unless it is the other program of the next test.
    #[test]
    fn holds_a_port_until_its_input_ends() {
        let Some(note) = std::env::var_os(HOLDER) else {
            return;
        };
        let holder = TcpListener::bind((own_address(), 0)).unwrap();
        std::fs::write(note, holder.local_addr().unwrap().to_string()).unwrap();
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    }

    #[test]
    fn a_port_of_another_program_is_taken_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("address");
        let mut holder = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "host::windows::socket::tests::holds_a_port_until_its_input_ends",
            ])
            .env(HOLDER, &note)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let address: SocketAddr = eventually(|| std::fs::read_to_string(&note).ok()?.parse().ok());

        assert!(matches!(bind_exclusive(address), Err(BindError::InUse)));
        let owner = owner_of(Transport::Tcp, address, Some(std::process::id())).unwrap();
        assert_eq!(owner.address, address);
        assert_owner(owner.pid, holder.id());

        drop(holder.stdin.take());
        assert!(holder.wait().unwrap().success());
        eventually(|| bind_exclusive(address).ok());
    }

    /// The answer, as soon as there is one, within a deadline.
    fn eventually<T>(mut answer: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(answer) = answer() {
                return answer;
            }
            assert!(Instant::now() < deadline, "no answer in time");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
