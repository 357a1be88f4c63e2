//! Listening sockets by NETLINK_SOCK_DIAG: requests, the receive loop, and the parser of its datagrams.
//!
//! The request asks for the state LISTEN only, so the kernel walks its table of listeners and never the one of
//! connections. Parsing is a pure function of the bytes and refuses what it does not understand.
//! Layouts: `linux/netlink.h`, `linux/inet_diag.h`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::TimeVal;
use wslnet_protocol::Protocol;

use super::Socket;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_DUMP_INTR: u16 = 0x010;
const NLM_F_DUMP: u16 = 0x300;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN: u8 = 10;
const INET_DIAG_SKV6ONLY: u16 = 11;
/// The upper two bits of an attribute's type are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

const HEADER_LEN: usize = 16;
/// `struct inet_diag_req_v2` with its header.
const REQUEST_LEN: usize = HEADER_LEN + 56;
/// `struct inet_diag_msg`, after which the attributes start.
const SOCKET_LEN: usize = 72;

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
    /// All listening TCP sockets, IPv4 and IPv6.
    ///
    /// # Errors
    /// When the kernel refuses, or does not give one complete dump in several attempts.
    pub(super) fn listeners(&mut self) -> io::Result<Vec<Socket>> {
        let mut sockets = self.family_with_retries(AF_INET)?;
        match self.family_with_retries(AF_INET6) {
            Ok(more) => sockets.extend(more),
            // The kernel has IPv6 compiled out or switched off.
            Err(error) if no_such_family(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(sockets)
    }

    fn family_with_retries(&mut self, family: u8) -> io::Result<Vec<Socket>> {
        let mut attempt = 1;
        loop {
            let error = match self.family(family) {
                Ok(sockets) => return Ok(sockets),
                Err(error) => error,
            };
            // Whatever went wrong, parts of that dump may still be queued or running: a new socket has neither.
            self.socket = None;
            if attempt == ATTEMPTS || !worth_a_retry(&error) {
                return Err(error);
            }
            tracing::debug!(%error, attempt, family, "sock_diag dump starts again");
            attempt += 1;
        }
    }

    fn family(&mut self, family: u8) -> io::Result<Vec<Socket>> {
        let socket = match self.socket.take() {
            Some(socket) => self.socket.insert(socket),
            None => self.socket.insert(open()?),
        };
        self.sequence = self.sequence.wrapping_add(1);
        socket.send(&request(family, self.sequence), 0)?;

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
            match parse(datagram, self.sequence, &mut sockets).map_err(invalid)? {
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

/// The request for the listeners of one family.
fn request(family: u8, sequence: u32) -> [u8; REQUEST_LEN] {
    let mut bytes = [0; REQUEST_LEN];
    let length = u32::try_from(REQUEST_LEN).unwrap_or(u32::MAX);
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes[16] = family;
    bytes[17] = IPPROTO_TCP;
    bytes[20..24].copy_from_slice(&(1_u32 << TCP_LISTEN).to_ne_bytes());
    bytes
}

/// What a datagram says about the dump as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// More datagrams follow.
    More,
    /// The dump is complete.
    Done,
    /// Something changed during the dump, or a part was lost: it has to be made again.
    Interrupted,
    /// The kernel refused, with this errno.
    Failed(i32),
}

/// The bytes are not what the kernel sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Malformed {
    #[error("a sock_diag answer does not fit its buffer")]
    Cut,
    #[error("a sock_diag message has an impossible length")]
    Length,
    #[error("a sock_diag message is too short for what it says it is")]
    Short,
    #[error("a sock_diag message has an address family that was not asked for")]
    Family,
}

/// Reads one datagram of the dump with this sequence number and appends its sockets. Messages with another sequence
/// number belong to an older request and are skipped.
fn parse(mut rest: &[u8], sequence: u32, sockets: &mut Vec<Socket>) -> Result<Progress, Malformed> {
    let mut progress = Progress::More;
    while !rest.is_empty() {
        let length = read_u32(rest, 0)? as usize;
        let kind = read_u16(rest, 4)?;
        let flags = read_u16(rest, 6)?;
        let message_sequence = read_u32(rest, 8)?;
        if length < HEADER_LEN {
            return Err(Malformed::Length);
        }
        let payload = rest.get(HEADER_LEN..length).ok_or(Malformed::Length)?;
        rest = rest.get(align(length)..).unwrap_or_default();
        if message_sequence != sequence {
            continue;
        }
        if flags & NLM_F_DUMP_INTR != 0 {
            progress = Progress::Interrupted;
        }
        match kind {
            SOCK_DIAG_BY_FAMILY => sockets.extend(socket(payload)?),
            NLMSG_ERROR => return Ok(Progress::Failed(errno(payload)?)),
            NLMSG_OVERRUN => return Ok(Progress::Interrupted),
            NLMSG_DONE => {
                return Ok(match (progress, payload.is_empty()) {
                    (Progress::Interrupted, _) => Progress::Interrupted,
                    (_, true) => Progress::Done,
                    (_, false) => match errno(payload)? {
                        0 => Progress::Done,
                        errno => Progress::Failed(errno),
                    },
                });
            }
            // NLMSG_NOOP and what later kernels may add.
            _ => {}
        }
    }
    Ok(progress)
}

/// One `struct inet_diag_msg` with its attributes; `None` for what is not a listener.
fn socket(message: &[u8]) -> Result<Option<Socket>, Malformed> {
    let family = read::<1>(message, 0)?[0];
    let state = read::<1>(message, 1)?[0];
    let port = u16::from_be_bytes(read(message, 4)?);
    let interface = read_u32(message, 40)?;
    let cookie = u64::from(read_u32(message, 44)?) | u64::from(read_u32(message, 48)?) << 32;
    let uid = read_u32(message, 64)?;
    let inode = read_u32(message, 68)?;
    let address = match family {
        AF_INET => SocketAddr::from((Ipv4Addr::from(read::<4>(message, 8)?), port)),
        AF_INET6 => SocketAddr::from((Ipv6Addr::from(read::<16>(message, 8)?), port)),
        _ => return Err(Malformed::Family),
    };
    if state != TCP_LISTEN {
        return Ok(None);
    }
    let v6only = attribute(message.get(SOCKET_LEN..).unwrap_or_default(), INET_DIAG_SKV6ONLY)?;
    Ok(Some(Socket {
        protocol: Protocol::Tcp,
        address,
        v6only: v6only.and_then(|value| value.first()).map(|value| *value != 0),
        uid,
        inode: u64::from(inode),
        cookie: Some(cookie),
        interface: (interface != 0).then_some(interface),
    }))
}

/// The value of the first attribute of this type.
fn attribute(mut rest: &[u8], wanted: u16) -> Result<Option<&[u8]>, Malformed> {
    while !rest.is_empty() {
        let length = usize::from(read_u16(rest, 0)?);
        let kind = read_u16(rest, 2)? & ATTRIBUTE_TYPE;
        // Also refuses a length below 4, which would never advance.
        let value = rest.get(4..length).ok_or(Malformed::Length)?;
        if kind == wanted {
            return Ok(Some(value));
        }
        rest = rest.get(align(length)..).unwrap_or_default();
    }
    Ok(None)
}

/// The positive errno of an error or done message; the kernel sends it negated.
fn errno(payload: &[u8]) -> Result<i32, Malformed> {
    Ok(i32::from_ne_bytes(read(payload, 0)?).saturating_neg())
}

fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn read<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or(Malformed::Short)
}

fn read_u16(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    read(bytes, at).map(u16::from_ne_bytes)
}

fn read_u32(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    read(bytes, at).map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use proptest::prelude::*;

    use super::*;

    const SEQUENCE: u32 = 7;

    #[test]
    fn reads_a_golden_ipv4_listener() {
        let bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_v4());

        let (progress, sockets) = parsed(&bytes);

        assert_eq!(progress, Ok(Progress::More));
        assert_eq!(
            sockets,
            [Socket {
                protocol: Protocol::Tcp,
                address: "127.0.0.1:8080".parse().unwrap(),
                v6only: None,
                uid: 1000,
                inode: 4242,
                cookie: Some(0x0000_0002_0000_0001),
                interface: Some(3),
            }]
        );
        assert_eq!(sockets[0].id(), 0x0000_0002_0000_0001);
    }

    #[test]
    fn reads_a_golden_ipv6_listener_with_v6only_after_an_odd_sized_attribute() {
        let mut socket = golden_v6();
        socket.extend([5, 0, 8, 0, 0xff, 0, 0, 0]); // one byte, padded to four
        socket.extend([5, 0, 11, 0, 1, 0, 0, 0]); // INET_DIAG_SKV6ONLY = 1
        let bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &socket);

        let (progress, sockets) = parsed(&bytes);

        assert_eq!(progress, Ok(Progress::More));
        assert_eq!(sockets[0].address, "[::1]:443".parse().unwrap());
        assert_eq!(sockets[0].v6only, Some(true));
        assert_eq!(sockets[0].interface, None);
    }

    #[test]
    fn reads_all_messages_of_a_datagram_up_to_done() {
        let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_v4());
        bytes.extend(message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_v6()));
        bytes.extend(message(NLMSG_DONE, 2, SEQUENCE, &0_i32.to_ne_bytes()));

        let (progress, sockets) = parsed(&bytes);

        assert_eq!((progress, sockets.len()), (Ok(Progress::Done), 2));
    }

    #[test]
    fn a_dump_that_was_interrupted_is_not_done() {
        let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2 | NLM_F_DUMP_INTR, SEQUENCE, &golden_v4());
        bytes.extend(message(NLMSG_DONE, 2, SEQUENCE, &0_i32.to_ne_bytes()));

        assert_eq!(parsed(&bytes).0, Ok(Progress::Interrupted));
        assert_eq!(
            parsed(&message(NLMSG_OVERRUN, 0, SEQUENCE, &[])).0,
            Ok(Progress::Interrupted)
        );
    }

    #[test]
    fn errors_of_the_kernel_carry_their_number() {
        let busy = message(NLMSG_ERROR, 0, SEQUENCE, &(-libc::EBUSY).to_ne_bytes());
        let late = message(NLMSG_DONE, 2, SEQUENCE, &(-libc::ENOMEM).to_ne_bytes());

        assert_eq!(parsed(&busy).0, Ok(Progress::Failed(libc::EBUSY)));
        assert_eq!(parsed(&late).0, Ok(Progress::Failed(libc::ENOMEM)));
    }

    #[test]
    fn messages_of_an_older_request_are_skipped() {
        let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE - 1, &golden_v4());
        bytes.extend(message(NLMSG_DONE, 2, SEQUENCE - 1, &0_i32.to_ne_bytes()));

        assert_eq!(parsed(&bytes), (Ok(Progress::More), vec![]));
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let mut too_long = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_v4());
        too_long[0] = 0xff;
        let mut too_small = too_long.clone();
        too_small[0..4].copy_from_slice(&3_u32.to_ne_bytes());
        let mut endless = golden_v6();
        endless.extend([0, 0, 1, 0]);

        assert_eq!(parsed(&too_long).0, Err(Malformed::Length));
        assert_eq!(parsed(&too_small).0, Err(Malformed::Length));
        assert_eq!(
            parsed(&message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &endless)).0,
            Err(Malformed::Length)
        );
        assert_eq!(
            parsed(&message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &[2; 40])).0,
            Err(Malformed::Short)
        );
    }

    #[test]
    fn an_established_connection_is_not_a_listener() {
        let mut connection = golden_v4();
        connection[1] = 1;

        assert_eq!(
            parsed(&message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &connection)).1,
            []
        );
    }

    #[test]
    fn the_request_asks_for_listeners_only() {
        let bytes = request(AF_INET6, SEQUENCE);

        assert_eq!(u32::from_ne_bytes(bytes[0..4].try_into().unwrap()), 72);
        assert_eq!(bytes[16..18], [AF_INET6, IPPROTO_TCP]);
        assert_eq!(u32::from_ne_bytes(bytes[20..24].try_into().unwrap()), 0x400);
    }

    #[test]
    fn only_passing_failures_are_tried_again() {
        let passing = [libc::EINTR, libc::EBUSY, libc::ENOBUFS].map(io::Error::from_raw_os_error);
        let lasting = [libc::EPERM, libc::ENOENT, libc::EPROTONOSUPPORT].map(io::Error::from_raw_os_error);

        assert!(passing.iter().all(worth_a_retry));
        assert!(!lasting.iter().any(worth_a_retry));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parsed(&bytes);
        }

        #[test]
        fn no_damage_to_a_real_dump_makes_it_panic(
            damage in proptest::collection::vec((0_usize..400, any::<u8>()), 0..8),
            keep in 0_usize..400,
        ) {
            let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_v4());
            let mut second = golden_v6();
            second.extend([5, 0, 11, 0, 1, 0, 0, 0]);
            bytes.extend(message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &second));
            bytes.extend(message(NLMSG_DONE, 2, SEQUENCE, &0_i32.to_ne_bytes()));
            for (at, value) in damage {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(keep);

            let _ = parsed(&bytes);
        }
    }

    fn parsed(bytes: &[u8]) -> (Result<Progress, Malformed>, Vec<Socket>) {
        let mut sockets = Vec::new();
        let progress = parse(bytes, SEQUENCE, &mut sockets);
        (progress, sockets)
    }

    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(HEADER_LEN + payload.len()).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    /// 127.0.0.1:8080 of uid 1000, bound to interface 3, as a little-endian kernel writes it.
    fn golden_v4() -> Vec<u8> {
        let mut bytes = vec![2, 10, 0, 0, 0x1f, 0x90, 0, 0, 127, 0, 0, 1];
        bytes.resize(40, 0);
        bytes.extend([3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        bytes.resize(64, 0);
        bytes.extend([0xe8, 3, 0, 0, 0x92, 0x10, 0, 0]);
        bytes
    }

    /// [::1]:443 of root.
    fn golden_v6() -> Vec<u8> {
        let mut bytes = vec![10, 10, 0, 0, 1, 0xbb, 0, 0];
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.resize(44, 0);
        bytes.extend([9, 0, 0, 0, 0, 0, 0, 0]);
        bytes.resize(64, 0);
        bytes.extend([0, 0, 0, 0, 0x93, 0x10, 0, 0]);
        bytes
    }
}
