//! What only Windows knows of distros. On Linux, the development host, there are none, and `wsl.exe` has a stand-in.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::{command, registered, wsl_exe};
#[cfg(windows)]
pub(super) use windows::{command, registered, wsl_exe};
