//! The part of the machine that the firewall's rules need. `windows/` is the real one, `linux.rs` a file that stands for it in
//! development and tests, with the same signatures:
//! - [`POLL`], how often it is looked at; [`Store::new`];
//! - [`Store::ours`], the rules of our group; [`Store::add`] and [`Store::remove`];
//! - [`Store::look`], all that one may want to know, for which Windows asks for no particular right.
//!
//! - [`HyperV`], the same for the rules of the firewall of virtual machines.
//!
//! All of them block, on Windows for some seconds if Windows Firewall does not answer: call them from a blocking thread.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::{HyperV, POLL, Store};
#[cfg(windows)]
pub use windows::{HyperV, POLL, Store};
