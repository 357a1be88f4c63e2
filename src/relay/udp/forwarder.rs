//! One UDP forward as its owner handles it: give it listening sockets, take them away, send it elsewhere, end it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::budget::Budget;
use crate::entrance::Entrance;
use crate::forward::Counters;
use crate::forwarder::{Connections, ListenError};
use crate::gate::Gate;
use crate::lanes::{Lanes, Road};

use super::forward::UdpForward;
use super::listening::Listening;
use super::own::Claim;
use super::receive::Receiver;

/// One UDP forward: its target, its live flows, its counters. Listening sockets come and go.
///
/// It is handled like a [`crate::Forwarder`]; a flow takes the place of a connection. It begins with a client's first
/// datagram and ends when nobody has said anything for a while ([`crate::Limits`]), when the service refuses, when the
/// [`Gate`] does not let it go on, or when the forward is full and it is the oldest that was never answered. If all were
/// answered, it is the newcomer that is not heard.
///
/// A datagram from our own sockets and addresses, or from the target of any UDP forward of the [`Budget`], is a loop and
/// is dropped.
///
/// Dropping it leaves nothing open, as soon as its lanes come to it. [`UdpForwarder::close`] waits for that.
#[derive(Debug)]
pub struct UdpForwarder {
    forward: Arc<UdpForward>,
    road: Arc<Road>,
    listeners: BTreeMap<SocketAddr, Listener>,
}

#[derive(Debug)]
struct Listener {
    entrance: Arc<Entrance>,
    task: JoinHandle<()>,
    _address_is_ours: Claim,
}

impl UdpForwarder {
    /// A forward to `target` without listening sockets. What it will have runs on `lanes`, and ends with them.
    #[must_use]
    pub fn new(target: SocketAddr, gate: Arc<dyn Gate>, budget: Arc<Budget>, lanes: &Lanes) -> Self {
        Self {
            forward: UdpForward::new(target, gate, budget),
            road: lanes.road(),
            listeners: BTreeMap::new(),
        }
    }

    /// Receives clients' datagrams at `socket` from now on, and returns its address. The socket must be bound to an
    /// address of its own, not to a wildcard, and not be connected.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn listen(&mut self, socket: std::net::UdpSocket) -> Result<SocketAddr, ListenError> {
        let address = socket.local_addr().map_err(ListenError::Address)?;
        if address.ip().to_canonical().is_unspecified() {
            return Err(ListenError::Wildcard(address));
        }
        if self.listeners.contains_key(&address) {
            return Err(ListenError::Duplicate(address));
        }
        let watch = |source| ListenError::Watch { address, source };
        let lane = self.road.lane().map_err(watch)?;
        // Tokio panics at a blocking socket; saying it twice costs nothing.
        socket.set_nonblocking(true).map_err(watch)?;
        let watched = {
            let _lane = lane.enter();
            UdpSocket::from_std(socket)
        };
        let socket = watched.map_err(watch)?;

        let entrance = Arc::<Entrance>::default();
        let claim = self.forward.budget.own().claim(address);
        let receiver = Receiver {
            listening: Arc::new(Listening::new(socket)),
            address,
            forward: Arc::clone(&self.forward),
            entrance: Arc::clone(&entrance),
        };
        let listener = Listener {
            entrance,
            task: lane.spawn(receiver.run()),
            _address_is_ours: claim,
        };
        self.listeners.insert(address, listener);
        Ok(address)
    }

    /// Closes the socket at `address`, if there is one; the port is free when this returns.
    ///
    /// Its flows are gone too, whatever is to become of `connections`: answers must come from the address that the client
    /// wrote to, so nothing can drain once that is given up.
    pub async fn unlisten(&mut self, address: SocketAddr, connections: Connections) {
        let Some(listener) = self.listeners.remove(&address) else {
            return;
        };
        match connections {
            // Before anything is waited for, so that it also holds if the caller does not wait.
            Connections::Drain | Connections::Cut => listener.entrance.cut(),
        }
        ended(listener).await;
    }

    /// The addresses at which clients are heard.
    pub fn listening(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.keys().copied()
    }

    /// Where new flows go.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.forward.target()
    }

    /// Sends new flows to `target`. Those to a former target end: their clients' next datagrams go to the new one. The same
    /// target again changes nothing.
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

    /// Ends the forward. All its ports are free and all its flows are gone when this returns, with either value of
    /// `connections`, see [`UdpForwarder::unlisten`].
    pub async fn close(mut self, connections: Connections) {
        match connections {
            Connections::Drain | Connections::Cut => self.cut(),
        }
        for listener in std::mem::take(&mut self.listeners).into_values() {
            ended(listener).await;
        }
    }

    fn cut(&self) {
        for listener in self.listeners.values() {
            listener.entrance.cut();
        }
    }
}

impl Drop for UdpForwarder {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Waits for the receiving task and for the flows, which have the socket among them. They may have ended before, with their
/// lane.
async fn ended(listener: Listener) {
    if let Err(error) = listener.task.await
        && error.is_panic()
    {
        tracing::error!(%error, "the task of a listening socket failed; its port is closed");
    }
    listener.entrance.deserted().await;
}
