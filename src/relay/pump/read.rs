//! Reads from a socket without waiting.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
use elsewhere as platform;
#[cfg(target_os = "linux")]
use linux as platform;

use std::io;

use tokio::net::TcpStream;

/// Reads what is there, up to the length of `buffer`, which is not empty; 0 bytes are the end of the stream.
///
/// # Errors
/// Those of the system; [`io::ErrorKind::WouldBlock`] when nothing is there now.
pub(super) fn read_now(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    platform::read_now(stream, buffer)
}
