//! Executes what the plan says, and knows what is open. As little as possible is decided here.

mod executor;
pub(crate) mod firewall;
mod forwarder;
mod gate;
pub mod portproxy;
mod relays;

pub use executor::Executor;
pub use firewall::Admitted;
pub use gate::ConnectionGate;
pub use relays::Relays;
