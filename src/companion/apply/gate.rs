//! The last check before a connection is dialled: is the target still the guest it was when the plan was made?

use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};

use wslnet_relay::Gate;

use crate::host::Interface;
use crate::target;

/// Asks [`target::permitted`] with the interfaces as they are now.
#[derive(Debug)]
pub struct TargetGate {
    control: SocketAddr,
    interfaces: RwLock<Vec<Interface>>,
}

impl TargetGate {
    /// A gate that permits nothing until it is told of the interfaces.
    pub fn new(control: SocketAddr) -> Self {
        Self {
            control,
            interfaces: RwLock::default(),
        }
    }

    /// Tells the present interfaces.
    pub fn look(&self, interfaces: &[Interface]) {
        *self.interfaces.write().unwrap_or_else(PoisonError::into_inner) = interfaces.to_vec();
    }
}

impl Gate for TargetGate {
    fn permits(&self, target: SocketAddr) -> Result<(), String> {
        let interfaces = self.interfaces.read().unwrap_or_else(PoisonError::into_inner);
        target::permitted(target.ip(), &interfaces, self.control)
    }
}
