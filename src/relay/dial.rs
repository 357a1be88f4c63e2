//! Dials a target, bounded in time and only while the gate permits it, from sockets that the loop guard knows. An
//! attempt that the target leaves without an answer is made again, as its queue may have been full; a refusal stands.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket};
use tokio::net::TcpStream;

use crate::gate::Gate;
use crate::options;
use crate::outbound::{Claim, Outbound};

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// The rest before the next attempt, should the system time one out at once.
const REST: Duration = Duration::from_millis(50);

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
    gate: &dyn Gate,
    timeout: Duration,
    outbound: &Arc<Outbound>,
) -> Result<Dialled, DialError> {
    dial_from(new_socket, target, gate, timeout, outbound).await
}

/// Makes attempts for as long as each ends in a time-out of the system's and `timeout` is not over. Linux repeats a
/// SYN that was lost, so one attempt takes longer than a dial may; Windows does not, see [`platform::fail_fast`].
async fn dial_from(
    new_socket: impl Fn(SocketAddr) -> io::Result<Socket>,
    target: SocketAddr,
    gate: &dyn Gate,
    timeout: Duration,
    outbound: &Arc<Outbound>,
) -> Result<Dialled, DialError> {
    let attempts = async {
        loop {
            gate.permits(target).map_err(DialError::NotPermitted)?;
            let socket = new_socket(target).map_err(DialError::Socket)?;
            match attempt(socket, target, outbound).await {
                Err(DialError::Connect(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    tracing::trace!(%target, %error, "no answer; dialling again");
                    tokio::time::sleep(REST).await;
                }
                outcome => return outcome,
            }
        }
    };
    tokio::time::timeout(timeout, attempts)
        .await
        .unwrap_or(Err(DialError::TimedOut(timeout)))
}

async fn attempt(socket: Socket, target: SocketAddr, outbound: &Arc<Outbound>) -> Result<Dialled, DialError> {
    let mut claim = outbound
        .start(target, || start_connect(&socket, target))
        .map_err(DialError::Connect)?;
    let stream = TcpStream::from_std(socket.into()).map_err(DialError::Socket)?;

    connected(&stream).await.map_err(DialError::Connect)?;
    if !claim.is_settled() {
        claim.settle(stream.local_addr().map_err(DialError::Connect)?);
    }
    Ok(Dialled {
        stream,
        _claim: claim,
    })
}

fn new_socket(target: SocketAddr) -> io::Result<Socket> {
    let socket = platform::new_nonblocking(Domain::for_address(target))?;
    options::prepare(&socket)?;
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

/// Waits for the outcome of the connect. A socket that is connected has a peer; the others have an error.
async fn connected(stream: &TcpStream) -> io::Result<()> {
    // A target on this machine, or on a virtual network of it, has answered before the connect returns.
    if stream.peer_addr().is_ok() {
        return Ok(());
    }
    stream.writable().await?;
    match stream.peer_addr() {
        Ok(_peer) => Ok(()),
        Err(no_peer) => Err(stream.take_error()?.unwrap_or(no_peer)),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
