//! Listening sockets from `/proc/thread-self/net/tcp` and `tcp6`: the source for kernels without sock_diag.
//!
//! Both files list listeners first and connections after them, so reading stops at the first line that is not a
//! listener. The files have no cookie, no IPV6_V6ONLY and no device.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;

use procfs::net::{TcpNetEntries, TcpNetEntry, TcpState};
use procfs::{FromBufReadSI, current_system_info};
use wslnet_protocol::Protocol;

use super::Socket;

/// The state column of a socket in LISTEN.
const LISTEN: &str = "0A";

/// The files are those of the calling thread: `/proc/net` would be the network namespace of the first thread.
const IPV4: &str = "/proc/thread-self/net/tcp";
/// Absent where the kernel has IPv6 switched off.
const IPV6: &str = "/proc/thread-self/net/tcp6";

/// Reads both files.
///
/// # Errors
/// When a file cannot be read or understood. A missing `tcp6` is not an error.
pub(super) fn listeners() -> io::Result<Vec<Socket>> {
    let mut sockets = parse(BufReader::new(File::open(IPV4)?))?;
    match File::open(IPV6) {
        Ok(file) => sockets.extend(parse(BufReader::new(file))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(sockets)
}

/// The listeners of one file.
fn parse(file: impl BufRead) -> io::Result<Vec<Socket>> {
    let listening = listening_part(file)?;
    let entries = TcpNetEntries::from_buf_read(listening.as_bytes(), current_system_info())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(entries
        .0
        .into_iter()
        .filter(|entry| entry.state == TcpState::Listen)
        .map(socket)
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

fn socket(entry: TcpNetEntry) -> Socket {
    let TcpNetEntry {
        local_address,
        uid,
        inode,
        ..
    } = entry;
    Socket {
        protocol: Protocol::Tcp,
        address: SocketAddr::new(local_address.ip(), local_address.port()),
        v6only: None,
        uid,
        inode,
        cookie: None,
        interface: None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    const LISTENER: &str = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0000000000000000 100 0 0 10 0\n";
    const CONNECTION: &str = "   1: 0100007F:1F90 0100007F:8888 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0000000000000000 20 4 30 10 -1\n";

    #[test]
    fn reads_the_listeners_and_stops_at_the_first_connection() {
        let file = format!("{HEADER}{LISTENER}{CONNECTION}not a line that could be parsed\n");

        let sockets = parse(file.as_bytes()).unwrap();

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

        let sockets = parse(format!("{HEADER}{line}").as_bytes()).unwrap();

        assert_eq!(
            sockets.first().unwrap().address,
            "[::ffff:127.0.0.1]:8080".parse().unwrap()
        );
    }

    #[test]
    fn a_garbled_listener_is_an_error_and_not_an_empty_list() {
        let file = format!("{HEADER}   0: 0100007F:XXXX 00000000:0000 0A 00000000:00000000\n");

        assert!(parse(file.as_bytes()).is_err());
    }
}
