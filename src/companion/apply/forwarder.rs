//! A forward of either protocol, handled in one way.

use std::net::SocketAddr;
use std::sync::Arc;

use wslnet_protocol::Protocol;
use wslnet_relay::{Budget, Connections, Counters, Gate, Lanes, ListenError, UdpForwarder};

use crate::host::{BindError, BindRound};
use crate::plan;

/// The relay of one forward.
#[derive(Debug)]
pub(super) enum Forwarder {
    /// Over TCP.
    Tcp(wslnet_relay::Forwarder),
    /// Over UDP, where a client's flow stands for its connection.
    Udp(UdpForwarder),
}

/// Where clients come in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Door {
    /// At an address of Windows on a network.
    Network(SocketAddr),
    /// At this port of Windows' own 127.0.0.1, which WSL leaves free.
    LoopbackGap(u16),
}

impl Door {
    /// The address.
    pub(super) fn address(self) -> SocketAddr {
        match self {
            Self::Network(address) => address,
            Self::LoopbackGap(port) => plan::loopback_gap(port),
        }
    }
}

/// Why a forward does not listen at an address.
#[derive(Debug)]
pub(super) enum NotListening {
    /// The port could not be opened.
    Bind(BindError),
    /// The relay could not take it on.
    Relay(ListenError),
}

impl Forwarder {
    /// A forward to `target` that listens nowhere yet.
    pub(super) fn new(
        protocol: Protocol,
        target: SocketAddr,
        gate: Arc<dyn Gate>,
        budget: Arc<Budget>,
        lanes: &Lanes,
    ) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp(wslnet_relay::Forwarder::new(target, gate, budget, lanes)),
            Protocol::Udp => Self::Udp(UdpForwarder::new(target, gate, budget, lanes)),
        }
    }

    /// Opens the port at this address and serves whoever comes in.
    pub(super) fn listen(&mut self, door: Door, binds: &mut BindRound) -> Result<(), NotListening> {
        let listens = match self {
            Self::Tcp(forwarder) => {
                let listener = match door {
                    Door::Network(address) => binds.bind_exclusive(address),
                    Door::LoopbackGap(port) => binds.bind_loopback_gap(port),
                };
                forwarder.listen(listener.map_err(NotListening::Bind)?)
            }
            Self::Udp(forwarder) => {
                let socket = match door {
                    Door::Network(address) => binds.bind_exclusive_udp(address),
                    Door::LoopbackGap(port) => binds.bind_loopback_gap_udp(port),
                };
                forwarder.listen(socket.map_err(NotListening::Bind)?)
            }
        };
        listens.map(drop).map_err(NotListening::Relay)
    }

    /// Closes the port at this address; it is free when this returns.
    pub(super) async fn unlisten(&mut self, address: SocketAddr, connections: Connections) {
        match self {
            Self::Tcp(forwarder) => forwarder.unlisten(address, connections).await,
            Self::Udp(forwarder) => forwarder.unlisten(address, connections).await,
        }
    }

    /// Where it listens.
    pub(super) fn listening(&self) -> Vec<SocketAddr> {
        match self {
            Self::Tcp(forwarder) => forwarder.listening().collect(),
            Self::Udp(forwarder) => forwarder.listening().collect(),
        }
    }

    /// Sends new connections elsewhere.
    pub(super) fn retarget(&mut self, target: SocketAddr) {
        match self {
            Self::Tcp(forwarder) => forwarder.retarget(target),
            Self::Udp(forwarder) => forwarder.retarget(target),
        }
    }

    /// What it has carried so far.
    pub(super) fn counters(&self) -> Counters {
        match self {
            Self::Tcp(forwarder) => forwarder.counters(),
            Self::Udp(forwarder) => forwarder.counters(),
        }
    }

    /// Ends it. All its ports are free when this returns.
    pub(super) async fn close(self, connections: Connections) {
        match self {
            Self::Tcp(forwarder) => forwarder.close(connections).await,
            Self::Udp(forwarder) => forwarder.close(connections).await,
        }
    }
}
