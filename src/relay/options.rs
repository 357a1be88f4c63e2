//! The socket options of a connection, the same on the accepted and on the dialled side.

use std::io;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
use elsewhere as platform;
#[cfg(target_os = "linux")]
use linux as platform;

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
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    // The last: who has it has the others, see `prepare_accepted`.
    socket.set_linger(Some(Duration::ZERO))
}

/// Prepares the clients of a listening socket, where the system lets them inherit. Those of a socket that refuses are prepared
/// one by one.
pub(crate) fn prepare_listening(socket: &Socket) {
    platform::bequeath(socket);
}

/// Prepares an accepted socket, unless it is so by inheritance. Clients that were there before their listener was prepared
/// are not.
///
/// # Errors
/// Those of [`prepare`].
pub(crate) fn prepare_accepted(socket: &Socket) -> io::Result<()> {
    if platform::has_inherited(socket) {
        return Ok(());
    }
    prepare(socket)
}

/// What is still on its way may arrive after the close. A socket that refuses this is dead already.
pub(crate) fn close_in_order(socket: &Socket) {
    if let Err(error) = socket.set_linger(None) {
        tracing::trace!(%error, "a finished connection could not be closed in order");
    }
}

/// Fails a test unless `socket` is as [`prepare`] leaves it. Windows does not tell the times of its keepalive.
#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]
pub(crate) fn assert_prepared(socket: &Socket) {
    assert_eq!(
        socket.linger().unwrap(),
        Some(Duration::ZERO),
        "an unfinished connection ends by a reset"
    );
    assert!(socket.tcp_nodelay().unwrap());
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
}

#[cfg(all(test, unix))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

    use std::net::{TcpListener, TcpStream};

    use socket2::SockRef;

    use super::*;

    #[test]
    fn a_prepared_socket_resets_until_it_is_closed_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = SockRef::from(&client);

        prepare(&socket).unwrap();

        assert_prepared(&socket);
        close_in_order(&socket);
        assert_eq!(socket.linger().unwrap(), None);
    }

    #[test]
    fn a_client_is_prepared_whether_it_came_before_its_listener_was_or_later() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _early = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        prepare_listening(&SockRef::from(&listener));
        let _late = TcpStream::connect(listener.local_addr().unwrap()).unwrap();

        let (early, late) = (listener.accept().unwrap().0, listener.accept().unwrap().0);

        assert_prepared(&SockRef::from(&late));
        for client in [early, late] {
            prepare_accepted(&SockRef::from(&client)).unwrap();
            assert_prepared(&SockRef::from(&client));
        }
    }
}
