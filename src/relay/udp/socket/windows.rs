//! UDP on Windows: an ICMP error about any client fails the next receive of the socket that wrote to it.

use std::io;

use tokio::net::UdpSocket;
use windows_sys::Win32::Networking::WinSock::{SIO_UDP_CONNRESET, SIO_UDP_NETRESET, WSAEMSGSIZE, WSAENOBUFS};
use windows_sys::core::BOOL;

use crate::winsock;

/// Switches WSAECONNRESET (port unreachable) and WSAENETRESET (time to live exceeded) off. Upstream sockets keep them:
/// they have one peer only, and its refusal ends their flow.
pub(super) fn keep_quiet(listening: &UdpSocket) {
    let off: BOOL = 0;
    for code in [SIO_UDP_CONNRESET, SIO_UDP_NETRESET] {
        if let Err(error) = winsock::set(listening, code, &off) {
            tracing::trace!(%error, code, "a listening socket will fail for clients that are gone");
        }
    }
}

/// Whether only this datagram failed: too long, or no memory for it.
pub(super) fn is_about_one_datagram(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEMSGSIZE | WSAENOBUFS))
}
