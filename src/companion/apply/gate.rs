//! The last checks for each connection: is the client one whom forwards serve, and is the target still the guest that it was
//! when the plan was made?

use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use wslnet_relay::Gate;

use crate::client;
use crate::config::Clients;
use crate::host::Interface;
use crate::target;

/// Asks [`client::admitted`] and [`target::permitted`] with the machine as it is now.
#[derive(Debug)]
pub struct ConnectionGate {
    /// Where the control port listens in the network of the VM; without it nothing may be dialled.
    control: Option<SocketAddr>,
    seen: RwLock<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    interfaces: Vec<Interface>,
    clients: Clients,
}

impl ConnectionGate {
    /// A gate that permits nothing until it is told of the machine.
    pub fn new(control: Option<SocketAddr>) -> Self {
        Self {
            control,
            seen: RwLock::default(),
        }
    }

    /// Tells the present interfaces and policy.
    pub fn look(&self, interfaces: &[Interface], clients: Clients) {
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Seen {
            interfaces: interfaces.to_vec(),
            clients,
        };
    }

    fn read(&self) -> RwLockReadGuard<'_, Seen> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate for ConnectionGate {
    fn permits(&self, target: SocketAddr) -> Result<(), String> {
        let control = self
            .control
            .ok_or("the companion listens in no network of a virtual machine")?;
        target::permitted(target.ip(), &self.read().interfaces, control)
    }

    fn admits(&self, client: SocketAddr, listener: SocketAddr) -> Result<(), String> {
        let seen = self.read();
        client::admitted(client.ip(), listener.ip(), &seen.interfaces, seen.clients)
    }
}
