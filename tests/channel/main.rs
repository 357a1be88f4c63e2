//! Tests of the channel between the two programs: real sockets on loopback and real TLS, both ends in this process.
//! The companion's control port is put together as the program does it; what speaks to it is a client that may send
//! anything, or the daemon's pusher.
//!
//! On loopback no address may be dialled, so every forward is `denied`. What is opened on a network is the matter of the
//! end-to-end tests, except in `ports`, where the companion has networks around it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::expect_used, reason = "a test fails by panicking, and says why")]

mod bench;

mod api;
mod handshake;
#[cfg(target_os = "linux")]
mod ports;
#[cfg(target_os = "linux")]
mod pusher;
