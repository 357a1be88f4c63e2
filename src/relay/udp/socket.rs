//! What the systems say of datagrams that did not go through, and how to keep them from saying it at the wrong place.

use std::io;

use tokio::net::UdpSocket;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// Keeps errors that concern single clients off a listening socket, as far as the system can.
pub(super) fn keep_quiet(listening: &UdpSocket) {
    platform::keep_quiet(listening);
}

/// Whether an error is about one datagram that was to be sent, and the next may well go through: no room for it at the
/// moment, or it is longer than this way allows.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    ) || platform::is_about_one_datagram(error)
}

/// Whether a listening socket's error is an ICMP message about somebody whom we had answered. The next datagram is about
/// another. Windows does so wherever [`keep_quiet`] could not keep it from it.
pub(super) fn is_about_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted
    )
}
