//! The socket options of a connection, the same on the accepted and on the dialled side.

use std::io;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};

/// A client or a virtual machine that vanished without a word is asked after this long,
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// and then this often, until the system gives up on it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Prepares a socket: from here on its connection is reset when the socket is closed, by whatever way, until
/// [`close_in_order`] says otherwise. So not even a killed program looks like an empty answer.
///
/// # Errors
/// Those of the first option that the system refuses.
pub(crate) fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)
}

/// What is still on its way may arrive after the close. A socket that refuses this is dead already.
pub(crate) fn close_in_order(socket: &Socket) {
    if let Err(error) = socket.set_linger(None) {
        tracing::trace!(%error, "a finished connection could not be closed in order");
    }
}
