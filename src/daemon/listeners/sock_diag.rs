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
    /// All listening sockets of a protocol, IPv4 and IPv6.
    ///
    /// # Errors
    /// When the kernel refuses, or does not give one complete dump in several attempts.
    pub(super) fn listeners(&mut self, protocol: Protocol) -> io::Result<Vec<Socket>> {
        let mut sockets = self.family_with_retries(protocol, AF_INET)?;
        match self.family_with_retries(protocol, AF_INET6) {
            Ok(more) => sockets.extend(more),
            // The kernel has IPv6 compiled out or switched off.
            Err(error) if no_such_family(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(sockets)
    }

    fn family_with_retries(&mut self, protocol: Protocol, family: u8) -> io::Result<Vec<Socket>> {
        let mut attempt = 1;
        loop {
            let error = match self.family(protocol, family) {
                Ok(sockets) => return Ok(sockets),
                Err(error) => error,
            };
            // Whatever went wrong, parts of that dump may still be queued or running: a new socket has neither.
            self.socket = None;
            if attempt == ATTEMPTS || !worth_a_retry(&error) {
                return Err(error);
            }
            tracing::debug!(%error, attempt, %protocol, family, "sock_diag dump starts again");
            attempt += 1;
        }
    }

    fn family(&mut self, protocol: Protocol, family: u8) -> io::Result<Vec<Socket>> {
        let socket = match self.socket.take() {
            Some(socket) => self.socket.insert(socket),
            None => self.socket.insert(open()?),
        };
        self.sequence = self.sequence.wrapping_add(1);
        socket.send(&request(protocol, family, self.sequence), 0)?;

        let mut sockets = Vec::new();
        loop {
            let (length, sender) = socket.recv_from(&mut self.buffer.as_mut_slice(), libc::MSG_TRUNC)?;
            if sender.port_number() != 0 {
                // Only port 0 is the kernel.
                continue;
            }
            let Some(datagram) = self.buffer.get(..length) else {
                return Err(invalid(Malformed::Cut));
            };
            match parse(datagram, protocol, self.sequence, &mut sockets).map_err(invalid)? {
                Progress::More => {}
                Progress::Done => return Ok(sockets),
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
    use super::*;

    #[test]
    fn only_passing_failures_are_tried_again() {
        let passing = [libc::EINTR, libc::EBUSY, libc::ENOBUFS].map(io::Error::from_raw_os_error);
        let lasting = [libc::EPERM, libc::ENOENT, libc::EPROTONOSUPPORT].map(io::Error::from_raw_os_error);

        assert!(passing.iter().all(worth_a_retry));
        assert!(!lasting.iter().any(worth_a_retry));
    }
}
