//! How the program is asked to stop.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::requested;
#[cfg(windows)]
pub(crate) use windows::requested;
