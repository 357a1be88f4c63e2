//! Serves the command line of the same program: status, list, explain, reload. Reading is for every user of the distro,
//! but no answer tells a user more of other users' processes than /proc does (the daemon itself may look into all of
//! them; see [`Reader`]). What changes something is for root and the daemon's own user.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use wslnet_console::control::{Answer, Connection, Listener, Peer};

use crate::picture::Picture;
use crate::report::{self, Reader};

/// The name of the control endpoint.
pub const NAME: &str = "wslnetd";

/// How long to wait after a failed accept, so that running out of file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What a command may ask the running daemon.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// [`StatusReport`](report::StatusReport).
    Status,
    /// A list of [`Row`](report::Row).
    List {
        /// Also the listeners of other distros.
        all: bool,
    },
    /// A [`Walk`](report::Walk) along one port.
    Explain {
        /// The port.
        port: u16,
    },
    /// The [`Selectors`](report::Selectors) of each listener on one port.
    Labels {
        /// The port.
        port: u16,
    },
    /// Read the configuration again.
    Reload,
}

/// The answer to [`Ask::Reload`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The rendered report of a file that was refused, so that the former configuration stays.
    pub refused: Option<String>,
}

/// Asks the event loop to read the configuration again.
pub type ReloadRequest = oneshot::Sender<Reloaded>;

/// Answers commands until `stop`.
pub async fn serve(
    mut listener: Listener,
    picture: watch::Receiver<Picture>,
    reload: mpsc::Sender<ReloadRequest>,
    stop: CancellationToken,
) {
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            () = stop.cancelled() => return,
        };
        match connection {
            Ok(connection) => {
                tokio::spawn(answer(connection, picture.clone(), reload.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the control endpoint could not accept a command");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(
    mut connection: Connection,
    picture: watch::Receiver<Picture>,
    reload: mpsc::Sender<ReloadRequest>,
) {
    let ask = connection.request::<Ask>().await;
    let reader = reader(connection.peer());
    let sent = match ask {
        Err(error) => connection.answer(&Answer::<()>::Failed(error.to_string())).await,
        Ok(Ask::Status) => {
            let status = report::status(&picture.borrow());
            connection.answer(&Answer::Done(status)).await
        }
        Ok(Ask::List { all }) => {
            let rows = report::rows(&picture.borrow(), all, reader);
            connection.answer(&Answer::Done(rows)).await
        }
        Ok(Ask::Explain { port }) => {
            let walk = report::explain(&picture.borrow(), port, reader);
            connection.answer(&Answer::Done(walk)).await
        }
        Ok(Ask::Labels { port }) => {
            let selectors = report::selectors(&picture.borrow(), port, reader);
            connection.answer(&Answer::Done(selectors)).await
        }
        Ok(Ask::Reload) if !connection.peer().privileged => {
            let reason = "only root may reload the configuration: use sudo, or `systemctl reload wslnetd`";
            connection.answer(&Answer::<()>::Failed(reason.to_owned())).await
        }
        Ok(Ask::Reload) => connection.answer(&reloaded(&reload).await).await,
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "a command went away before its answer");
    }
}

fn reader(peer: Peer) -> Reader {
    if peer.privileged {
        Reader::Privileged
    } else {
        Reader::User(peer.uid)
    }
}

async fn reloaded(reload: &mpsc::Sender<ReloadRequest>) -> Answer<Reloaded> {
    let (answer, reply) = oneshot::channel();
    let reloaded = match reload.send(answer).await {
        Ok(()) => reply.await.ok(),
        Err(_) => None,
    };
    reloaded.map_or_else(|| Answer::Failed("wslnetd is stopping".to_owned()), Answer::Done)
}
