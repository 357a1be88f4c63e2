//! Executes what the plan says, and knows what is open. As little as possible is decided here.

mod forwarder;
mod gate;
mod relays;

pub use gate::ConnectionGate;
pub use relays::Relays;
