//! The state directory on Windows. It lies in the user's profile unless somebody names another place, and what is made
//! there inherits the profile's access list: the user, SYSTEM and the administrators. No access list is read or
//! written here.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::{LIMIT, LOCK_FILE, LOCK_INTERVAL, LOCK_PATIENCE, Privacy, is_leftover, temporary_name};
use crate::error::{Refusal, StoreError};

/// `ERROR_SHARING_VIOLATION`: somebody has the file open and does not share it.
const SHARING_VIOLATION: i32 = 32;

/// `ERROR_ACCESS_DENIED`: no right, or a rename over a file that somebody has open.
const ACCESS_DENIED: i32 = 5;

/// How long a rename waits for those who have the old file open.
const RENAME_PATIENCE: Duration = Duration::from_secs(2);

/// A checked state directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

/// The right to change files in the directory: the lock file, opened so that nobody else can open it. Windows closes it
/// when the process dies.
#[derive(Debug)]
pub(crate) struct Lock<'a> {
    directory: &'a Directory,
    _held: File,
}

/// Size and times in units of 100 ns. Without opening the file Windows gives no identity for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileStamp {
    size: u64,
    created: u64,
    modified: u64,
}

pub(super) fn file_stamp(metadata: &Metadata) -> FileStamp {
    FileStamp {
        size: metadata.file_size(),
        created: metadata.creation_time(),
        modified: metadata.last_write_time(),
    }
}

impl Directory {
    /// Checks the directory; `None` when there is none.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let refuse = |reason| StoreError::Refused {
            path: path.to_owned(),
            reason,
        };
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => Err(refuse(Refusal::Link)),
            Ok(metadata) if !metadata.is_dir() => Err(refuse(Refusal::NotADirectory)),
            Ok(_) => Ok(Some(Self {
                path: path.to_owned(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::OpenDirectory {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Checks the directory, and makes it first when there is none.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        if let Some(directory) = Self::open(path)? {
            return Ok(directory);
        }
        let failed = |source| StoreError::CreateDirectory {
            path: path.to_owned(),
            source,
        };
        std::fs::create_dir_all(path).map_err(failed)?;
        Self::open(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// The path of a file in the directory.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The content of an ordinary file; `None` when there is no such file. Privacy is the access list's work here.
    pub(crate) fn read(
        &self,
        name: &str,
        privacy: Privacy,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.read_at_most(name, privacy, LIMIT)
    }

    /// The same with another limit, in bytes.
    pub(crate) fn read_at_most(
        &self,
        name: &str,
        _: Privacy,
        limit: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let path = self.join(name);
        let failed = |source| StoreError::Read {
            path: path.clone(),
            source,
        };
        let refuse = |reason| StoreError::Refused {
            path: path.clone(),
            reason,
        };
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => return Err(refuse(Refusal::Link)),
            Ok(metadata) if !metadata.is_file() => return Err(refuse(Refusal::NotAFile)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
        }
        let file = File::open(&path).map_err(failed)?;
        // Room for all of it at once: a vector that grows leaves copies of a secret behind.
        let mut content = Zeroizing::new(Vec::with_capacity(limit + 2));
        file.take(limit as u64 + 1)
            .read_to_end(&mut content)
            .map_err(failed)?;
        if content.len() > limit {
            return Err(refuse(Refusal::TooLong { limit }));
        }
        Ok(Some(content))
    }

    /// Waits for the lock, then clears away what commands that died under it left behind.
    pub(crate) fn lock(&self) -> Result<Lock<'_>, StoreError> {
        let path = self.join(LOCK_FILE);
        let give_up = Instant::now() + LOCK_PATIENCE;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).share_mode(0);
        let held = loop {
            match options.open(&path) {
                Ok(held) => break held,
                Err(error) if error.raw_os_error() != Some(SHARING_VIOLATION) => {
                    return Err(StoreError::Lock { path, source: error });
                }
                Err(_) if Instant::now() >= give_up => return Err(StoreError::LockHeld { path }),
                Err(_) => std::thread::sleep(LOCK_INTERVAL),
            }
        };
        self.sweep().map_err(|source| StoreError::Lock { path, source })?;
        Ok(Lock {
            directory: self,
            _held: held,
        })
    }

    /// Writes a temporary file that is complete and on the disk when this returns.
    pub(crate) fn write_temporary(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let temporary = self.join(&temporary_name(name)?);
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(content)
            .and_then(|()| file.sync_all())
            .inspect_err(|_| unlink(&temporary))?;
        Ok(temporary)
    }

    fn sweep(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_leftover) {
                unlink(&entry.path());
            }
        }
        Ok(())
    }
}

impl Lock<'_> {
    /// Makes `name` with this content; an existing file stays as it is. A link and not a rename, because a rename
    /// overwrites.
    pub(crate) fn create(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = self.directory.join(name);
        let made = self
            .directory
            .write_temporary(name, content)
            .and_then(|temporary| {
                let linked = std::fs::hard_link(&temporary, &path);
                unlink(&temporary);
                linked
            });
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(StoreError::Write { path, source: error })
            }
            _ => Ok(()),
        }
    }

    /// Puts a new file in the place of `name` in one step: a reader sees the old one or the new one.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = self.directory.join(name);
        let replaced = self
            .directory
            .write_temporary(name, content)
            .and_then(|temporary| rename(&temporary, &path).inspect_err(|_| unlink(&temporary)));
        replaced.map_err(|source| StoreError::Write { path, source })
    }
}

/// Renames over `to`. Where the system or the file system knows no POSIX rename (FAT, Windows before 10, Wine), that is
/// refused while anybody has `to` open: one of our own readers, or a virus scanner. Both are done soon.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let give_up = Instant::now() + RENAME_PATIENCE;
    loop {
        match std::fs::rename(from, to) {
            Err(error) if in_use(&error) && Instant::now() < give_up => std::thread::sleep(LOCK_INTERVAL),
            done => return done,
        }
    }
}

fn in_use(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ACCESS_DENIED | SHARING_VIOLATION))
}

/// Removes a temporary file. Failure is harmless: the next holder of the lock removes it.
fn unlink(path: &Path) {
    let _ = std::fs::remove_file(path);
}
