//! One forward as its owner handles it: give it listeners, take them away, send it elsewhere, end it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::accept::accept;
use crate::budget::Budget;
use crate::entrance::Entrance;
use crate::forward::{Counters, Forward};
use crate::gate::Gate;
use crate::lanes::{Lanes, Road};
use crate::options;

/// What becomes of live connections when their listener or their forward ends. UDP flows always end with their listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// They go on until they end by themselves, and count in the [`Budget`] until then.
    Drain,
    /// They are reset.
    Cut,
}

/// A listener that could not be taken on. It is closed.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system did not tell the socket's address.
    #[error("the listening socket has no usable address")]
    Address(#[source] io::Error),
    /// No lane could watch the socket.
    #[error("cannot watch the listening socket at {address}")]
    Watch {
        /// Where it listens.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Answers of a wildcard socket may leave from another address than the client wrote to. UDP only.
    #[error("a UDP listener needs an address of its own; {0} is none")]
    Wildcard(SocketAddr),
    /// The forward has another listener at the same address.
    #[error("the forward already listens at {0}")]
    Duplicate(SocketAddr),
}

/// One forward: its target, its live connections, its counters. Listeners come and go.
///
/// Dropping it leaves nothing open: listeners close and connections are reset, both as soon as their lanes come to it.
/// [`Forwarder::close`] waits for that, and can leave the connections alone.
#[derive(Debug)]
pub struct Forwarder {
    forward: Arc<Forward>,
    road: Arc<Road>,
    listeners: BTreeMap<SocketAddr, Listener>,
    at_drop: Connections,
}

#[derive(Debug)]
struct Listener {
    entrance: Arc<Entrance>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// A forward to `target` without listeners. What it will have runs on `lanes`, and ends with them.
    #[must_use]
    pub fn new(target: SocketAddr, gate: Arc<dyn Gate>, budget: Arc<Budget>, lanes: &Lanes) -> Self {
        Self {
            forward: Forward::new(target, gate, budget),
            road: lanes.road(),
            listeners: BTreeMap::new(),
            at_drop: Connections::Cut,
        }
    }

    /// Accepts clients at `listener` from now on, and returns its address. The socket must be bound and listening.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn listen(&mut self, listener: std::net::TcpListener) -> Result<SocketAddr, ListenError> {
        let address = listener.local_addr().map_err(ListenError::Address)?;
        if self.listeners.contains_key(&address) {
            return Err(ListenError::Duplicate(address));
        }
        let watch = |source| ListenError::Watch { address, source };
        let lane = self.road.lane().map_err(watch)?;
        // Tokio panics at a blocking socket; saying it twice costs nothing.
        listener.set_nonblocking(true).map_err(watch)?;
        options::prepare_listening(&SockRef::from(&listener));
        let watched = {
            let _lane = lane.enter();
            TcpListener::from_std(listener)
        };
        let (entrance, stop) = (Arc::<Entrance>::default(), CancellationToken::new());
        let task = lane.spawn(accept(
            watched.map_err(watch)?,
            address,
            Arc::clone(&self.forward),
            Arc::clone(&entrance),
            lane.clone(),
            stop.clone(),
        ));
        let listener = Listener { entrance, stop, task };
        self.listeners.insert(address, listener);
        Ok(address)
    }

    /// Closes the listener at `address`, if there is one; the port is free when this returns.
    ///
    /// With [`Connections::Cut`], for an address that may not be listened at any more, the connections accepted at this
    /// listener are gone too, and no others: also not those that drain from a former listener at the same address.
    /// With [`Connections::Drain`] they go on: a service may well close its own listener after the first client.
    pub async fn unlisten(&mut self, address: SocketAddr, connections: Connections) {
        let Some(listener) = self.listeners.remove(&address) else {
            return;
        };
        listener.stop.cancel();
        match connections {
            Connections::Drain => ended(listener).await,
            Connections::Cut => {
                let entrance = Arc::clone(&listener.entrance);
                // Before anything is waited for, so that it also holds if the caller does not wait.
                entrance.cut();
                ended(listener).await;
                entrance.deserted().await;
            }
        }
    }

    /// The addresses at which clients are accepted.
    pub fn listening(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.keys().copied()
    }

    /// Where new connections go.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.forward.target()
    }

    /// Sends new connections to `target`. Those to a former target are reset, as what they talked to is not there any
    /// more; the same target again changes nothing.
    pub fn retarget(&mut self, target: SocketAddr) {
        if target != self.target() {
            self.forward.retarget(target);
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.forward.counters()
    }

    /// Ends the forward. All its ports are free when this returns; with [`Connections::Cut`], all its connections are
    /// gone too.
    pub async fn close(mut self, connections: Connections) {
        self.at_drop = connections;
        let listeners = std::mem::take(&mut self.listeners);
        for listener in listeners.values() {
            listener.stop.cancel();
        }
        for listener in listeners.into_values() {
            ended(listener).await;
        }
        match connections {
            Connections::Drain => {}
            Connections::Cut => {
                self.forward.cut();
                self.forward.deserted().await;
            }
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        for listener in self.listeners.values() {
            listener.stop.cancel();
        }
        match self.at_drop {
            Connections::Drain => {}
            Connections::Cut => self.forward.cut(),
        }
    }
}

/// Waits for the accepting task, which owns the socket. It may have ended before, with its lane.
async fn ended(listener: Listener) {
    if let Err(error) = listener.task.await
        && error.is_panic()
    {
        tracing::error!(%error, "the task of a listener failed; its port is closed");
    }
}
