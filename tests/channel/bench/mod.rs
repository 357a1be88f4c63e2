//! The bench: a companion in this process, sessions that hold to the rules, and bytes that do not.

mod companion;
mod request;
mod session;
mod wait;
mod wire;

pub use companion::Companion;
pub use request::Request;
pub use session::{Session, forward, hello, set};
pub use wait::{A_SECOND, SOON, check, eventually};
pub use wire::{Wire, client_config, connect_from};

use wslnet_link::KeyPair;

/// A new key.
pub fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}
