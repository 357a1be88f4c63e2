//! The bytes of a sock_diag dump: makes the request and reads the answers. Pure; refuses what it does not understand.
//!
//! A request for TCP asks for the state LISTEN only, so the kernel walks its table of listeners and never the one of
//! connections. A UDP socket that is bound and has no peer is in the state CLOSE, by which the kernel leaves out the
//! connected ones. Layouts: `linux/netlink.h`, `linux/inet_diag.h`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use wslnet_protocol::Protocol;

use crate::listeners::Socket;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_DUMP_INTR: u16 = 0x010;
const NLM_F_DUMP: u16 = 0x300;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
/// `TCP_CLOSE`, which is also what UDP calls a socket without a peer.
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
const INET_DIAG_SKV6ONLY: u16 = 11;
/// The upper two bits of an attribute's type are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

const HEADER_LEN: usize = 16;
/// `struct inet_diag_req_v2` with its header.
const REQUEST_LEN: usize = HEADER_LEN + 56;
/// `struct inet_diag_msg`, after which the attributes start.
const SOCKET_LEN: usize = 72;

/// The number of a protocol, and the state in which its listeners are.
fn number_and_state(protocol: Protocol) -> (u8, u8) {
    match protocol {
        Protocol::Tcp => (IPPROTO_TCP, LISTEN),
        Protocol::Udp => (IPPROTO_UDP, CLOSE),
    }
}

/// The request for the listeners of one protocol and family.
pub(super) fn request(protocol: Protocol, family: u8, sequence: u32) -> [u8; REQUEST_LEN] {
    let (number, state) = number_and_state(protocol);
    let mut bytes = [0; REQUEST_LEN];
    let length = u32::try_from(REQUEST_LEN).unwrap_or(u32::MAX);
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes[16] = family;
    bytes[17] = number;
    bytes[20..24].copy_from_slice(&(1_u32 << state).to_ne_bytes());
    bytes
}

/// What a datagram says about the dump as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
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
pub(super) enum Malformed {
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
/// number belong to an older request and are skipped. The messages do not name their protocol: it is the one that was
/// asked for.
pub(super) fn parse(
    mut rest: &[u8],
    protocol: Protocol,
    sequence: u32,
    sockets: &mut Vec<Socket>,
) -> Result<Progress, Malformed> {
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
            SOCK_DIAG_BY_FAMILY => sockets.extend(socket(payload, protocol)?),
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
fn socket(message: &[u8], protocol: Protocol) -> Result<Option<Socket>, Malformed> {
    let family = read::<1>(message, 0)?[0];
    let state = read::<1>(message, 1)?[0];
    let port = u16::from_be_bytes(read(message, 4)?);
    let peer_port = u16::from_be_bytes(read(message, 6)?);
    let interface = read_u32(message, 40)?;
    let cookie = u64::from(read_u32(message, 44)?) | u64::from(read_u32(message, 48)?) << 32;
    let uid = read_u32(message, 64)?;
    let inode = read_u32(message, 68)?;
    let address = match family {
        AF_INET => SocketAddr::from((Ipv4Addr::from(read::<4>(message, 8)?), port)),
        AF_INET6 => SocketAddr::from((Ipv6Addr::from(read::<16>(message, 8)?), port)),
        _ => return Err(Malformed::Family),
    };
    if state != number_and_state(protocol).1 || peer_port != 0 {
        return Ok(None);
    }
    let v6only = attribute(message.get(SOCKET_LEN..).unwrap_or_default(), INET_DIAG_SKV6ONLY)?;
    Ok(Some(Socket {
        protocol,
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
mod tests;
