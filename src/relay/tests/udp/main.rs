//! The UDP relay between real clients and real services on loopback sockets. Everything here also runs under Wine.
#![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

mod bench;
mod datagrams;
mod life;
mod limits;
mod refusals;
