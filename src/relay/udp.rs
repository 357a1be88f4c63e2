//! The UDP relay. A flow is what a connection is in TCP: one client at one listening socket, with an upstream socket of
//! its own that is connected to the target, so that nobody else's datagrams come back on it.
//!
//! Nothing waits for anybody here: a datagram that a socket has no room for is lost, as it may be in UDP. Nothing is
//! kept for a client but its flow, and nothing is sent to anybody who has not sent first.

mod flow;
mod flows;
mod forward;
mod forwarder;
mod listening;
mod own;
mod receive;
mod socket;
mod upstream;

pub use forwarder::UdpForwarder;
pub(crate) use own::Own;

/// Longer than any datagram, so that none is cut short: the length that UDP can state has 16 bits. Held only while
/// datagrams are there to be carried, and by the task that carries them.
const LONGEST: usize = 64 * 1024;
/// Datagrams that a socket's task carries before it lets others run: reads that succeed at once never wait by
/// themselves, and a flood never ends.
const BURST: usize = 32;
