//! Where only a read that fails says that nothing more is there.

use std::io;

use tokio::net::TcpStream;

/// See [`super::read_now`].
pub(super) fn read_now(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    stream.try_read(buffer)
}
