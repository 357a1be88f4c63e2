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

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn a_cut_entrance_is_deserted_when_the_last_visit_is_over() {
        let entrance = Entrance::default();
        let (one, other) = (entrance.visit(), entrance.visit());

        entrance.cut();

        assert!(one.cut.is_cancelled() && other.cut.is_cancelled());
        drop(one);
        assert!(!is_deserted(&entrance).await);
        drop(other);
        assert!(is_deserted(&entrance).await);
        assert!(entrance.visit().cut.is_cancelled(), "who comes late is cut too");
    }

    async fn is_deserted(entrance: &Entrance) -> bool {
        tokio::select! {
            biased;
            () = entrance.deserted() => true,
            () = ready(()) => false,
        }
    }
}
