//! The relay for TCP and UDP: sockets in, bytes across, counters out; the same code on Linux and on Windows.
//!
//! A [`Forwarder`] carries one TCP forward. It is handed listening sockets, dials its target once for each client and
//! passes on what either side says, also how it says goodbye: an end of stream stays an end of stream, a reset stays
//! a reset, and whatever keeps a client from its service ends in a reset too, never in an empty answer.
//!
//! A [`UdpForwarder`] carries one UDP forward, with the same manners as far as datagrams have any: a flow for each
//! client, with a socket of its own towards the target, and answers for nobody but those who asked.
//!
//! Both run on [`Lanes`], threads of the relay's own: what floods them slows down nobody else in the program.
//!
//! They are not here to decide anything. They never bind a listening socket, know no policy and no protocol above TCP
//! and UDP; who may come in and what may be dialled is the [`Gate`]'s to say, how much there may be at a time is the
//! [`Budget`]'s.

mod accept;
mod budget;
mod connection;
mod crowd;
mod dial;
mod entrance;
mod forward;
mod forwarder;
mod gate;
mod lanes;
mod options;
mod outbound;
mod pump;
mod seldom;
mod udp;
#[cfg(windows)]
mod winsock;

pub use budget::{Budget, Limits};
pub use forward::Counters;
pub use forwarder::{Connections, Forwarder, ListenError};
pub use gate::Gate;
pub use lanes::Lanes;
pub use udp::UdpForwarder;
