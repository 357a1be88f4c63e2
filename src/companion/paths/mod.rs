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

/// The places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// `companion.toml`.
    pub config: PathBuf,
    /// The key and the trusted keys.
    pub state_dir: PathBuf,
    /// The control endpoint of the running program.
    pub run_dir: PathBuf,
    /// The hosts file; `None` where names are not kept.
    pub hosts: Option<PathBuf>,
}

/// Windows does not say where the user's own folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither %LOCALAPPDATA% nor %USERPROFILE% names a folder: name the three places by --state-dir, --run-dir and --config"
)]
pub struct PathsError;

impl Paths {
    /// On Windows below `%LOCALAPPDATA%\wslnet`, which belongs to the user alone; on Linux in the usual places.
    ///
    /// # Errors
    /// On Windows, when the environment does not name the folder. Whoever was told all three places need not ask.
    pub fn standard() -> Result<Self, PathsError> {
        platform::standard()
    }

    /// On Windows its hosts file. On Linux none: the development host's own file is not for tests to write.
    pub fn standard_hosts() -> Option<PathBuf> {
        platform::hosts()
    }
}
