//! UDP on Unix: a socket that is not connected hears of no ICMP errors (udp(7), without IP_RECVERR).

use std::io;

use nix::errno::Errno;
use tokio::net::UdpSocket;

/// Does nothing: there is nothing to hear.
pub(super) fn keep_quiet(_listening: &UdpSocket) {}

/// Whether only this datagram failed: too long, or no memory for it.
pub(super) fn is_about_one_datagram(error: &io::Error) -> bool {
    [Errno::EMSGSIZE, Errno::ENOBUFS]
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}
