//! The UDP relay between real clients and real services on loopback sockets. Everything here also runs under Wine,
//! except what says otherwise.
#![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

mod bench;
mod datagrams;
mod life;
mod limits;
mod refusals;

// Depends on the order in which epoll tells of sockets.
#[cfg(target_os = "linux")]
mod fairness;

// Wine tells of a refusal that came before anybody waited for news at the next datagram only.
#[cfg(unix)]
mod refused;
