//! Where the companion keeps its files unless it is told otherwise.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::path::PathBuf;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// The three places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// `companion.toml`.
    pub config: PathBuf,
    /// The key and the trusted keys.
    pub state_dir: PathBuf,
    /// The control endpoint of the running program.
    pub run_dir: PathBuf,
}

impl Paths {
    /// On Windows below `%LOCALAPPDATA%\wslnet`, which belongs to the user alone; on Linux in the usual places.
    pub fn standard() -> Self {
        platform::standard()
    }
}
