//! The socket of one flow towards the target.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use crate::budget::Slot;
use crate::dial::DialError;
use crate::gate::Gate;

use super::own::{Claim, Own};

/// A socket that is connected to the target, and what is held for as long as it is open. In this order: when the last
/// is given up, all is.
#[derive(Debug)]
pub(super) struct Upstream {
    socket: UdpSocket,
    target: SocketAddr,
    _claim: Claim,
    _slot: Slot,
    _open: oneshot::Sender<()>,
}

/// Resolves when the socket is closed and its slot given back.
pub(super) type Closed = oneshot::Receiver<()>;

impl Upstream {
    /// A socket to `target`, if the gate permits it. Nothing is sent yet.
    ///
    /// # Errors
    /// See [`DialError`]; never a time-out.
    pub(super) fn open(
        target: SocketAddr,
        gate: &dyn Gate,
        own: &Arc<Own>,
        slot: Slot,
    ) -> Result<(Arc<Self>, Closed), DialError> {
        gate.permits(target).map_err(DialError::NotPermitted)?;
        let socket = Socket::new(Domain::for_address(target), Type::DGRAM, Some(Protocol::UDP))
            .map_err(DialError::Socket)?;
        socket.set_nonblocking(true).map_err(DialError::Socket)?;
        socket.connect(&target.into()).map_err(DialError::Connect)?;
        let socket = UdpSocket::from_std(socket.into()).map_err(DialError::Socket)?;
        let local = socket.local_addr().map_err(DialError::Socket)?;

        let (open, closed) = oneshot::channel();
        let upstream = Self {
            socket,
            target,
            _claim: own.claim(local),
            _slot: slot,
            _open: open,
        };
        Ok((Arc::new(upstream), closed))
    }

    pub(super) fn target(&self) -> SocketAddr {
        self.target
    }

    /// Sends one datagram to the target, or fails at once.
    ///
    /// # Errors
    /// Those of the system, also those that an earlier datagram has met with.
    pub(super) fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        // Not by tokio's `try_send`, for which a fresh socket has no room before the reactor has looked at it.
        SockRef::from(&self.socket).send(datagram)
    }

    /// Waits until there is a datagram, or an error.
    ///
    /// # Errors
    /// When the target cannot be reached, or the lane ends.
    pub(super) async fn ready(&self) -> io::Result<()> {
        // Linux tells of a refusal by an error event alone, which is no news to those who only want to read.
        let ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
        if !ready.is_error() {
            return Ok(());
        }
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        // A failed send has taken the error along; the event has had its effect, and must not come again.
        let _taken_note = self
            .socket
            .try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        Ok(())
    }

    /// The next datagram of the target, into the free room of `buffer`.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is none, or those of the system.
    pub(super) fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.socket.try_recv_buf(buffer)
    }
}
