//! The TCP relay: sockets in, bytes across, counters out; the same code on Linux and on Windows.
//!
//! A [`Forwarder`] carries one forward. It is handed listening sockets, dials its target once for each client and
//! passes on what either side says, also how it says goodbye: an end of stream stays an end of stream, a reset stays
//! a reset, and whatever keeps a client from its service ends in a reset too, never in an empty answer.
//!
//! It is not here to decide anything. It never binds a socket, knows no policy and no protocol above TCP; who may come
//! in and what may be dialled is the [`Gate`]'s to say, how many connections there may be is the [`Budget`]'s.

mod accept;
mod budget;
mod connection;
mod dial;
mod entrance;
mod forward;
mod forwarder;
mod gate;
mod options;
mod outbound;
mod pump;
mod seldom;

pub use budget::{Budget, Limits};
pub use forward::Counters;
pub use forwarder::{Connections, Forwarder, ListenError};
pub use gate::Gate;
