//! Listening sockets by NETLINK_SOCK_DIAG: the conversation with the kernel. What the bytes mean is in `message`.

#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod message;

use std::io;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::TimeVal;
use wslnet_protocol::Protocol;

use self::message::{AF_INET, AF_INET6, Malformed, Progress, parse, request};
use super::Socket;

/// The kernel fills at most 32 KiB for one read of a dump.
const BUFFER_LEN: usize = 64 * 1024;
/// How often one scan starts a dump again before it gives up.
const ATTEMPTS: u32 = 5;
/// The kernel answers at once; this only keeps a scan from hanging for ever.
const ANSWER_LIMIT: TimeVal = TimeVal::new(2, 0);

/// Dumps listening sockets; keeps its netlink socket and buffer between dumps.
#[derive(Debug)]
pub(super) struct Dump {
    socket: Option<netlink_sys::Socket>,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Default for Dump {
    fn default() -> Self {
        Self {
            socket: None,
            buffer: vec![0; BUFFER_LEN],
            sequence: 0,
        }
    }
}

impl Dump {
    /// Adds all listening sockets of a protocol, IPv4 and IPv6.
    ///
    /// # Errors
    /// When the kernel refuses, or does not give one complete dump in several attempts.
    pub(super) fn listeners(&mut self, protocol: Protocol, sockets: &mut Vec<Socket>) -> io::Result<()> {
        self.family_with_retries(protocol, AF_INET, sockets)?;
        match self.family_with_retries(protocol, AF_INET6, sockets) {
            // The kernel has IPv6 compiled out or switched off.
            Err(error) if no_such_family(&error) => Ok(()),
            result => result,
        }
    }

    fn family_with_retries(
        &mut self,
        protocol: Protocol,
        family: u8,
        sockets: &mut Vec<Socket>,
    ) -> io::Result<()> {
        let before = sockets.len();
        let mut attempt = 1;
        loop {
            let error = match self.family(protocol, family, sockets) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            sockets.truncate(before);
            // Whatever went wrong, parts of that dump may still be queued or running: a new socket has neither.
            self.socket = None;
            if attempt == ATTEMPTS || !worth_a_retry(&error) {
                return Err(error);
            }
            tracing::debug!(%error, attempt, %protocol, family, "sock_diag dump starts again");
            attempt += 1;
        }
    }

    fn family(&mut self, protocol: Protocol, family: u8, sockets: &mut Vec<Socket>) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => self.socket.insert(socket),
            None => self.socket.insert(open()?),
        };
        self.sequence = self.sequence.wrapping_add(1);
        socket.send(&request(protocol, family, self.sequence), 0)?;

        loop {
            let (length, sender) = socket.recv_from(&mut self.buffer.as_mut_slice(), libc::MSG_TRUNC)?;
            if sender.port_number() != 0 {
                // Only port 0 is the kernel.
                continue;
            }
            let Some(datagram) = self.buffer.get(..length) else {
                return Err(invalid(Malformed::Cut));
            };
            match parse(datagram, protocol, self.sequence, sockets).map_err(invalid)? {
                Progress::More => {}
                Progress::Done => return Ok(()),
                Progress::Interrupted => return Err(io::Error::from_raw_os_error(libc::EINTR)),
                Progress::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }
}

fn open() -> io::Result<netlink_sys::Socket> {
    let socket = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
    setsockopt(&socket, ReceiveTimeout, &ANSWER_LIMIT)?;
    Ok(socket)
}

fn no_such_family(error: &io::Error) -> bool {
    // ENOENT: no inet_diag for this family. EAFNOSUPPORT: no such family at all.
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EAFNOSUPPORT))
}

fn worth_a_retry(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINTR | libc::EBUSY | libc::ENOBUFS | libc::EAGAIN | libc::ENOMEM)
    )
}

fn invalid(reason: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::namespace::{in_namespace, ip};

    /// They take two descriptors each.
    const CONNECTIONS: usize = 5000;

    #[test]
    fn a_dump_reads_as_much_with_thousands_of_connections_as_with_none() {
        in_namespace(|| {
            ip("link set lo up");
            allow_descriptors();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let idle = read_by_dump();

            let connections: Vec<_> = (0..CONNECTIONS)
                .map(|_| {
                    let client = TcpStream::connect(address).unwrap();
                    (client, listener.accept().unwrap().0)
                })
                .collect();
            let busy = read_by_dump();
            let others = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());

            assert_eq!(busy, idle, "with {} connections", connections.len());
            assert!(read_by_dump().bytes > idle.bytes, "listeners are counted");
            drop(others);
        });
    }

    /// What the answers to one dump of IPv4 and IPv6 come to.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Read {
        datagrams: usize,
        bytes: usize,
        sockets: usize,
    }

    fn read_by_dump() -> Read {
        let socket = open().unwrap();
        let mut buffer = vec![0; BUFFER_LEN];
        let mut read = Read::default();
        for family in [AF_INET, AF_INET6] {
            let mut sockets = Vec::new();
            socket.send(&request(Protocol::Tcp, family, 1), 0).unwrap();
            loop {
                let length = socket.recv(&mut buffer.as_mut_slice(), 0).unwrap();
                read.datagrams += 1;
                read.bytes += length;
                let progress = parse(&buffer[..length], Protocol::Tcp, 1, &mut sockets).unwrap();
                if progress != Progress::More {
                    assert_eq!(progress, Progress::Done);
                    break;
                }
            }
            read.sockets += sockets.len();
        }
        read
    }

    fn allow_descriptors() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    }

    #[test]
    fn only_passing_failures_are_tried_again() {
        let passing = [libc::EINTR, libc::EBUSY, libc::ENOBUFS].map(io::Error::from_raw_os_error);
        let lasting = [libc::EPERM, libc::ENOENT, libc::EPROTONOSUPPORT].map(io::Error::from_raw_os_error);

        assert!(passing.iter().all(worth_a_retry));
        assert!(!lasting.iter().any(worth_a_retry));
    }
}
