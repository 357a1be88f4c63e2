//! Datagrams of NETLINK_SOCK_DIAG. The first byte says which protocol was asked for.

use std::net::IpAddr;

use wslnet_daemon::listeners::Socket;
use wslnet_daemon::listeners::fuzzing::sock_diag;
use wslnet_protocol::Protocol;

/// The length of a message with one socket and no attribute.
const MESSAGE_BYTES: usize = 88;
/// SOCK_DIAG_BY_FAMILY.
const SOCKET: u16 = 20;

pub(super) fn target(bytes: &[u8]) {
    let Some((odd, datagram)) = bytes.split_first() else {
        return;
    };
    let protocol = if odd & 1 == 0 {
        Protocol::Tcp
    } else {
        Protocol::Udp
    };
    // That of the first message, as if it had been the question's.
    let sequence = datagram.get(8..).and_then(|rest| rest.first_chunk());
    let sequence = sequence.map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    let Ok(read) = sock_diag(datagram, protocol, sequence) else {
        return;
    };

    assert!(read.sockets.len() <= datagram.len().div_ceil(MESSAGE_BYTES));
    let written: Vec<u8> = read
        .sockets
        .iter()
        .flat_map(|socket| message(socket, sequence))
        .collect();
    let again = sock_diag(&written, protocol, sequence).map(|read| read.sockets);
    assert_eq!(again, Ok(read.sockets));
    // Answers to other questions are not heard.
    let others = sock_diag(&written, protocol, !sequence).map(|read| read.sockets.len());
    assert_eq!(others, Ok(0));
}

/// A message with this socket, as the kernel would write it.
fn message(socket: &Socket, sequence: u32) -> Vec<u8> {
    let (family, ip) = match socket.address.ip() {
        IpAddr::V4(ip) => (2, ip.octets().to_vec()),
        IpAddr::V6(ip) => (10, ip.octets().to_vec()),
    };
    let state = match socket.protocol {
        Protocol::Tcp => 10,
        Protocol::Udp => 7,
    };
    let mut body = vec![0; MESSAGE_BYTES - 16];
    body[0] = family;
    body[1] = state;
    body[4..6].copy_from_slice(&socket.address.port().to_be_bytes());
    body[8..8 + ip.len()].copy_from_slice(&ip);
    body[40..44].copy_from_slice(&socket.interface.unwrap_or_default().to_ne_bytes());
    let cookie = socket.cookie.unwrap_or_default().to_le_bytes();
    for (at, half) in [(44, &cookie[..4]), (48, &cookie[4..])] {
        let half = half
            .iter()
            .rev()
            .fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
        body[at..at + 4].copy_from_slice(&half.to_ne_bytes());
    }
    body[64..68].copy_from_slice(&socket.uid.to_ne_bytes());
    body[68..72].copy_from_slice(&u32::try_from(socket.inode).unwrap_or_default().to_ne_bytes());
    if let Some(v6only) = socket.v6only {
        body.extend([5, 0, 11, 0, u8::from(v6only), 0, 0, 0]);
    }
    let length = u32::try_from(16 + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(SOCKET.to_ne_bytes());
    message.extend([0; 2]);
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message
}
