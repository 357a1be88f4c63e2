//! Accepts clients at one listening socket until told to stop. Nothing that goes wrong with a client, or with the
//! machine's resources, ends it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connection;
use crate::entrance::Entrance;
use crate::forward::Forward;
use crate::lanes::Lane;

/// The rest after a failure that the next accept would meet again, such as a lack of descriptors.
const REST: Duration = Duration::from_millis(100);

/// Accepts until `stop`; the socket is closed on return.
pub(crate) async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    forward: Arc<Forward>,
    entrance: Arc<Entrance>,
    lane: Lane,
    stop: CancellationToken,
) {
    // Cancelled between two accepts only: a client that was accepted is always seen to.
    let _stopped = stop
        .run_until_cancelled(accept_all(&listener, address, &forward, &entrance, &lane))
        .await;
}

async fn accept_all(
    listener: &TcpListener,
    address: SocketAddr,
    forward: &Arc<Forward>,
    entrance: &Entrance,
    lane: &Lane,
) {
    loop {
        match listener.accept().await {
            Ok((client, peer)) => {
                if let Some(admission) = forward.admit(&client, peer, address, entrance) {
                    connection::start(client, admission, lane);
                }
            }
            Err(error) if concerns_one_client(&error) => {
                tracing::debug!(%address, %error, "a client left before it was accepted");
            }
            Err(error) => {
                if forward.budget.warn_of_accept() {
                    tracing::warn!(%address, %error, "cannot accept clients; trying again");
                } else {
                    tracing::debug!(%address, %error, "cannot accept clients; trying again");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// The failed client is off the queue, so the next accept is about another.
fn concerns_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
