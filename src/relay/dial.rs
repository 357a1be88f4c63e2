//! Dials a target: one attempt, bounded in time, from a socket that the loop guard knows. Whether the target may be
//! dialled was asked before.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

use crate::outbound::{Claim, Outbound};

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// Why there is no connection to the target.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the target may not be dialled: {0}")]
    NotPermitted(String),
    #[error("cannot make a socket")]
    Socket(#[source] io::Error),
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// A connection to the target.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) stream: TcpStream,
    /// Dropped after the socket, so that no client at its address goes unrecognised.
    _claim: Claim,
}

/// Connects to `target`. The socket resets its connection when dropped, until told otherwise.
pub(crate) async fn dial(
    target: SocketAddr,
    timeout: Duration,
    outbound: &Arc<Outbound>,
) -> Result<Dialled, DialError> {
    let socket = new_socket(target).map_err(DialError::Socket)?;
    let mut claim = outbound
        .start(target, || start_connect(&socket, target))
        .map_err(DialError::Connect)?;
    let stream = TcpStream::from_std(socket.into()).map_err(DialError::Socket)?;

    let Ok(connected) = tokio::time::timeout(timeout, connected(&stream)).await else {
        return Err(DialError::TimedOut(timeout));
    };
    claim.settle(connected.map_err(DialError::Connect)?);
    Ok(Dialled {
        stream,
        _claim: claim,
    })
}

fn new_socket(target: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    platform::fail_fast(&socket);
    Ok(socket)
}

/// Sends the first packet and returns the local address it comes from.
fn start_connect(socket: &Socket, target: SocketAddr) -> io::Result<SocketAddr> {
    match socket.connect(&target.into()) {
        Err(error) if !platform::is_under_way(&error) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Waits for the outcome of the connect, which is an error on the socket or its being writable.
async fn connected(stream: &TcpStream) -> io::Result<SocketAddr> {
    stream.writable().await?;
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.peer_addr()?;
    stream.local_addr()
}
