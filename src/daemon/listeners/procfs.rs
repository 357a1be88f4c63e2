//! Listening sockets from `/proc/thread-self/net/`: the source for kernels without sock_diag.
//!
//! `tcp` and `tcp6` list listeners first and connections after them, so reading stops at the first line that is not a
//! listener. `udp` and `udp6` are in no order. None has a cookie, IPV6_V6ONLY or a device.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;

use procfs::net::{TcpNetEntries, TcpState, UdpNetEntries, UdpState};
use procfs::{FromBufReadSI, ProcError, current_system_info};
use wslnet_protocol::Protocol;

use super::Socket;

/// The state column of a socket in LISTEN.
const LISTEN: &str = "0A";

/// The files are those of the calling thread: `/proc/net` would be the network namespace of the first thread. The ones of
/// IPv6 are absent where the kernel has it switched off.
const TCP: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
const UDP: [&str; 2] = ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"];

/// Reads both files of a protocol.
///
/// # Errors
/// When a file cannot be read or understood. A missing one of IPv6 is not an error.
pub(super) fn listeners(protocol: Protocol) -> io::Result<Vec<Socket>> {
    let ([ipv4, ipv6], parse): (_, fn(BufReader<File>) -> _) = match protocol {
        Protocol::Tcp => (TCP, tcp),
        Protocol::Udp => (UDP, udp),
    };
    let mut sockets = parse(BufReader::new(File::open(ipv4)?))?;
    match File::open(ipv6) {
        Ok(file) => sockets.extend(parse(BufReader::new(file))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(sockets)
}

/// The TCP listeners of one file.
pub(super) fn tcp(file: impl BufRead) -> io::Result<Vec<Socket>> {
    let listening = listening_part(file)?;
    let entries =
        TcpNetEntries::from_buf_read(listening.as_bytes(), current_system_info()).map_err(invalid)?;
    let listeners = entries
        .0
        .into_iter()
        .filter(|entry| entry.state == TcpState::Listen);
    Ok(listeners
        .map(|entry| socket(Protocol::Tcp, entry.local_address, entry.uid, entry.inode))
        .collect())
}

/// The UDP sockets of one file that are bound and have no peer.
pub(super) fn udp(file: impl BufRead) -> io::Result<Vec<Socket>> {
    let entries = UdpNetEntries::from_buf_read(file, current_system_info()).map_err(invalid)?;
    let unconnected = entries
        .0
        .into_iter()
        .filter(|entry| entry.state == UdpState::Close && entry.remote_address.port() == 0);
    Ok(unconnected
        .map(|entry| socket(Protocol::Udp, entry.local_address, entry.uid, entry.inode))
        .collect())
}

/// The header and the lines up to the first one that is not a listener.
fn listening_part(mut file: impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    file.read_line(&mut text)?;
    loop {
        let start = text.len();
        if file.read_line(&mut text)? == 0 {
            return Ok(text);
        }
        let state = text.get(start..).and_then(|line| line.split_whitespace().nth(3));
        if state != Some(LISTEN) {
            text.truncate(start);
            return Ok(text);
        }
    }
}

fn socket(protocol: Protocol, address: SocketAddr, uid: u32, inode: u64) -> Socket {
    Socket {
        protocol,
        address,
        v6only: None,
        uid,
        inode,
        cookie: None,
        interface: None,
    }
}

fn invalid(error: ProcError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    const LISTENER: &str = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0000000000000000 100 0 0 10 0\n";
    const CONNECTION: &str = "   1: 0100007F:1F90 0100007F:8888 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0000000000000000 20 4 30 10 -1\n";

    const UDP_HEADER: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
    const UDP_SOCKET: &str = " 1402: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000   104        0 4242 2 0000000000000000 0\n";

    #[test]
    fn reads_the_listeners_and_stops_at_the_first_connection() {
        let file = format!("{HEADER}{LISTENER}{CONNECTION}not a line that could be parsed\n");

        let sockets = tcp(file.as_bytes()).unwrap();

        let [socket] = sockets.as_slice() else {
            panic!("one listener, not {sockets:?}")
        };
        assert_eq!(socket.address, "127.0.0.1:8080".parse().unwrap());
        assert_eq!((socket.uid, socket.inode), (1000, 4242));
        assert_eq!(socket.id(), 4242 | 1 << 63);
    }

    #[test]
    fn reads_a_v4_mapped_address_as_ipv6() {
        let line = LISTENER.replace("0100007F:1F90", "0000000000000000FFFF00000100007F:1F90");
        let line = line.replace("00000000:0000 0A", "00000000000000000000000000000000:0000 0A");

        let sockets = tcp(format!("{HEADER}{line}").as_bytes()).unwrap();

        assert_eq!(
            sockets.first().unwrap().address,
            "[::ffff:127.0.0.1]:8080".parse().unwrap()
        );
    }

    #[test]
    fn reads_the_unconnected_udp_sockets_wherever_they_stand() {
        let connected = UDP_SOCKET.replace("00000000:0000 07", "0100007F:0035 01");
        let with_destination = UDP_SOCKET.replace("00000000:0000 07", "0100007F:0035 07");
        let other = UDP_SOCKET.replace("14E9", "0035").replace("4242", "4243");
        let file = format!("{UDP_HEADER}{connected}{UDP_SOCKET}{with_destination}{other}");

        let sockets = udp(file.as_bytes()).unwrap();

        let seen = sockets
            .iter()
            .map(|socket| (socket.protocol, socket.address, socket.inode));
        assert_eq!(
            seen.collect::<Vec<_>>(),
            [
                (Protocol::Udp, "0.0.0.0:5353".parse().unwrap(), 4242),
                (Protocol::Udp, "0.0.0.0:53".parse().unwrap(), 4243),
            ]
        );
        assert!(udp(format!("{UDP_HEADER}  1: 0100007F:XXXX\n").as_bytes()).is_err());
    }

    #[test]
    fn a_garbled_listener_is_an_error_and_not_an_empty_list() {
        let file = format!("{HEADER}   0: 0100007F:XXXX 00000000:0000 0A 00000000:00000000\n");

        assert!(tcp(file.as_bytes()).is_err());
    }
}
