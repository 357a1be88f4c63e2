//! The relay between real clients and real services on loopback sockets. Everything here also runs under Wine, except
//! what says otherwise.
#![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

mod bench;
mod goodbyes;
mod lanes;
mod life;
mod limits;
mod refusals;
mod streams;

// A thousand busy connections bring Wine's single-threaded wineserver to a halt, which says nothing about Windows.
#[cfg(unix)]
mod many;
