//! Dialling on Windows: tells the socket to take a refusal for an answer.

use std::io;

use socket2::{Domain, Protocol, Socket, Type};
use windows_sys::Win32::Networking::WinSock::{SIO_TCP_INITIAL_RTO, TCP_INITIAL_RTO_PARAMETERS};

use crate::winsock;

/// `TCP_INITIAL_RTO_UNSPECIFIED_RTT` of mstcpip.h: leave the round-trip time as it is.
const RTT_UNSPECIFIED: u16 = 0xFFFF;
/// `TCP_INITIAL_RTO_NO_SYN_RETRANSMISSIONS` of mstcpip.h, as the byte that the structure holds. Not 0xFF, which means
/// "unspecified".
const NO_SYN_RETRANSMISSIONS: u8 = 0xFE;

/// A TCP socket that never waits.
pub(super) fn new_nonblocking(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Keeps Windows from sending its SYN again after a reset, which makes every refused connect last two seconds. It also
/// stops the repetition of SYNs that got no answer, as from a full queue: there the connect times out, and the caller
/// makes it again. Windows 10 1709 and later; elsewhere the socket stays as it is, only slower to fail.
pub(super) fn fail_fast(socket: &Socket) {
    let parameters = TCP_INITIAL_RTO_PARAMETERS {
        Rtt: RTT_UNSPECIFIED,
        MaxSynRetransmissions: NO_SYN_RETRANSMISSIONS,
    };
    if let Err(error) = winsock::set(socket, SIO_TCP_INITIAL_RTO, &parameters) {
        tracing::trace!(%error, "a refused connect will take its time: no SIO_TCP_INITIAL_RTO");
    }
}

/// Whether a non-blocking connect has begun and is not yet decided.
pub(super) fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
