//! The way in through one listener, which can end otherwise than the forward: it knows who came in there. It accepts
//! nobody itself.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the connections that came in at one listener have in common.
#[derive(Debug, Default)]
pub(crate) struct Entrance {
    cut: CancellationToken,
    presence: watch::Sender<()>,
}

/// One connection's part in its [`Entrance`], held until its sockets are closed.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) cut: CancellationToken,
    _presence: watch::Receiver<()>,
}

impl Entrance {
    /// For a connection that comes in here.
    pub(crate) fn visit(&self) -> Visit {
        Visit {
            cut: self.cut.clone(),
            _presence: self.presence.subscribe(),
        }
    }

    /// Resets the connections that came in here, and whoever still comes in.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Returns when no connection that came in here is left.
    pub(crate) async fn deserted(&self) {
        self.presence.closed().await;
    }
}
