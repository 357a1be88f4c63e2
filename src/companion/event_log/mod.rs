//! The event log of Windows: what an administrator looks for there, and no more. Starts and stops, warnings and errors, and each
//! change of what is exposed, with whom it belongs to; everything else is in the log file.
//!
//! Our own few calls, because the crates for it (`eventlog`, `winlog2`) serve the crate `log` and bring a message file
//! that a resource compiler has to make. The text of an event comes from `EventCreate.exe`, a part of Windows whose messages 1 to
//! 1000 are the text that they are given; Go's `eventlog.InstallAsEventCreate` registers it in the same way.
//!
//! What stands in the Windows log is shared by all programs and limited in size: `budget.rs` sees to it that nobody can
//! make us push out what others wrote there.

#[cfg(any(windows, test))]
mod budget;
#[cfg(any(windows, test))]
mod entry;
#[cfg(windows)]
mod windows;

#[cfg(windows)]
pub(crate) use windows::{open, register, unregister};

/// The target of events that belong into the event log though they are no warnings.
pub(crate) const TARGET: &str = "wslnet_companion::event";
