//! A listening socket, as its receiving task and its flows share it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use socket2::SockRef;
use tokio::net::UdpSocket;

use super::socket;

/// Bound to the address that clients write to, and from which they are answered.
#[derive(Debug)]
pub(super) struct Listening {
    socket: UdpSocket,
    /// Answers leave one at a time. Linux would not mind, but Wine fails the later of two sends at once, as if there was
    /// no room.
    turn: Mutex<()>,
}

impl Listening {
    pub(super) fn new(socket: UdpSocket) -> Self {
        socket::keep_quiet(&socket);
        Self {
            socket,
            turn: Mutex::default(),
        }
    }

    /// Waits until there is a datagram.
    ///
    /// # Errors
    /// Only when the lane ends.
    pub(super) async fn ready(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// The next datagram, into the free room of `buffer`, and where it comes from.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is none, or those of the system.
    pub(super) fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_recv_buf_from(buffer)
    }

    /// Sends one datagram to `client`, or fails at once.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn send(&self, datagram: &[u8], client: SocketAddr) -> io::Result<usize> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Not by tokio's `try_send_to`, see `Upstream::send`.
        SockRef::from(&self.socket).send_to(datagram, &client.into())
    }
}
