//! How the files of the state directory are read and replaced: checked, atomic, under a lock.
//!
//! What the files mean stands in `store.rs` and `peers.rs`; other files of the programs come by `state_file.rs`. Both platforms offer the same three things:
//! - `Directory::open` / `open_or_create`: the state directory, or a refusal;
//! - `Directory::read` and `read_at_most`: a file that passed the checks, or `None`;
//! - `Directory::lock`, and on the lock `create` (never overwrites) and `replace`.

use std::io;
use std::path::Path;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use crate::keys::hex;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as platform;

pub(crate) use platform::Directory;

/// Longest file that is read unless the caller says otherwise. A list of two thousand keys fits.
const LIMIT: usize = 256 * 1024;

/// The file that commands lock while they change another one. Empty, never deleted.
const LOCK_FILE: &str = "lock";

/// How long a command waits for another one.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// How often it asks.
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// Who besides the owner may look at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// Nobody.
    Secret,
    /// Anybody may read, only the owner may write.
    Public,
}

/// The state of one file at one moment. Two stamps that differ mean that the file was written in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Option<platform::FileStamp>);

/// The stamp of `path`; a missing file has one too.
pub(crate) fn stamp(path: &Path) -> io::Result<Stamp> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Stamp(Some(platform::file_stamp(&metadata)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stamp(None)),
        Err(error) => Err(error),
    }
}

/// A name for the file that will become `name`. Random, because process ids repeat (each distro counts its own, and
/// a daemon gets the same one at each boot).
fn temporary_name(name: &str) -> io::Result<String> {
    let mut random = [0; 8];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(format!(".{name}.{}.tmp", hex(&random)))
}

/// Whether `file_name` is a temporary file of a command that died while it held the lock. Those of the lock file itself
/// do not count: they are made without the lock.
fn is_leftover(file_name: &str) -> bool {
    file_name.starts_with('.') && file_name.ends_with(".tmp") && !file_name.starts_with(".lock.")
}
