//! The part of the machine that portproxy needs: its entries in the registry, and the service IP Helper (`iphlpsvc`) that
//! acts on them. `windows/` is the real one, `linux.rs` a file that stands for it in development and tests, with the same
//! signatures:
//! - [`Machine::new`]; [`Machine::stamp`], a cheap sign that the entries may have changed;
//! - [`Machine::entries`], [`Machine::add`], [`Machine::remove`], [`Machine::flush`];
//! - [`Machine::may_write`], [`Machine::service`], [`Machine::reload`];
//! - [`Machine::is_served`] and [`Machine::is_ipv6_off`].

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::{Machine, Stamp};
#[cfg(windows)]
pub use windows::{Machine, Stamp};

pub use crate::host::Service;

/// What became of an entry that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// It was gone before.
    Absent,
    /// Its text is not what we wrote, so it stays.
    Foreign,
}
