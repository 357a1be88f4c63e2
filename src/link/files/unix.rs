//! The state directory on Linux. Everything goes through one descriptor of the directory, so what was checked is
//! what is used. Nothing follows a symbolic link.

mod checks;

use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, geteuid, linkat, unlinkat};
use zeroize::Zeroizing;

use super::{LIMIT, LOCK_FILE, LOCK_INTERVAL, LOCK_PATIENCE, Privacy, is_leftover, temporary_name};
use crate::error::{Refusal, StoreError};
use checks::{check_directory, check_file, check_file_system};

/// An open, checked state directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    fd: File,
    owner: u32,
    group: u32,
}

/// The right to change files in the directory; given back on drop, and by the kernel when the process dies.
#[derive(Debug)]
pub(crate) struct Lock<'a> {
    directory: &'a Directory,
    _held: Flock<File>,
}

/// Device, inode, size, and both times to the nanosecond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileStamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

pub(super) fn file_stamp(metadata: &Metadata) -> FileStamp {
    FileStamp {
        file: (metadata.dev(), metadata.ino()),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

impl Directory {
    /// Opens and checks the directory; `None` when there is none.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        // Without a trailing slash, which would make the system follow a link in spite of O_NOFOLLOW.
        let path = path.components().as_path();
        let refuse = |reason| StoreError::Refused {
            path: path.to_owned(),
            reason,
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = match nix::fcntl::open(path, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            // With O_DIRECTORY the kernel says ENOTDIR of a link too; and of a file among the parents.
            Err(Errno::ENOTDIR | Errno::ELOOP) if path.is_symlink() => return Err(refuse(Refusal::Link)),
            Err(Errno::ENOTDIR) if path.exists() => return Err(refuse(Refusal::NotADirectory)),
            Err(errno) => {
                return Err(StoreError::OpenDirectory {
                    path: path.to_owned(),
                    source: errno.into(),
                });
            }
        };
        let failed = |source| StoreError::OpenDirectory {
            path: path.to_owned(),
            source,
        };
        let metadata = fd.metadata().map_err(failed)?;
        check_file_system(&fd).map_err(failed)?.map_err(refuse)?;
        check_directory(metadata.uid(), metadata.mode(), geteuid().as_raw()).map_err(refuse)?;
        Ok(Some(Self {
            path: path.to_owned(),
            fd,
            owner: metadata.uid(),
            group: metadata.gid(),
        }))
    }

    /// Opens and checks the directory, and makes it first (mode 0700) when there is none.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        if let Some(directory) = Self::open(path)? {
            return Ok(directory);
        }
        let failed = |source| StoreError::CreateDirectory {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        Self::open(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// The path of a file in the directory, for messages.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The content of a file that passed all checks; `None` when there is no such file.
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
        privacy: Privacy,
        limit: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let failed = |source| StoreError::Read {
            path: self.join(name),
            source,
        };
        let refuse = |reason| StoreError::Refused {
            path: self.join(name),
            reason,
        };
        // O_NONBLOCK: opening a pipe that somebody left here must not hang.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => return Err(refuse(Refusal::Link)),
            // A socket or a device without a driver.
            Err(Errno::ENXIO | Errno::ENODEV) => return Err(refuse(Refusal::NotAFile)),
            Err(errno) => return Err(failed(errno.into())),
        };
        let metadata = file.metadata().map_err(failed)?;
        check_file(&metadata, self.owner, privacy).map_err(refuse)?;
        // A file can be a mount of its own.
        check_file_system(&file).map_err(failed)?.map_err(refuse)?;
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
        let failed = |source| StoreError::Lock {
            path: self.join(LOCK_FILE),
            source,
        };
        let give_up = Instant::now() + LOCK_PATIENCE;
        let mut file = self.lock_file().map_err(failed)?;
        let held = loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => break held,
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < give_up => file = back,
                Err((_, Errno::EWOULDBLOCK)) => {
                    return Err(StoreError::LockHeld {
                        path: self.join(LOCK_FILE),
                    });
                }
                Err((_, errno)) => return Err(failed(errno.into())),
            }
            std::thread::sleep(LOCK_INTERVAL);
        };
        self.sweep().map_err(failed)?;
        Ok(Lock {
            directory: self,
            _held: held,
        })
    }

    /// Opens the lock file. A new one appears with its final owner and mode, because root may make it for a daemon
    /// that looks for it at the same moment.
    fn lock_file(&self) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&self.fd, LOCK_FILE, flags, Mode::empty()) {
            Err(Errno::ENOENT) => {}
            found => return Ok(found?.into()),
        }
        self.link_new(LOCK_FILE, &[])?;
        Ok(openat(&self.fd, LOCK_FILE, flags, Mode::empty())?.into())
    }

    /// Writes a temporary file that is complete and on the disk when this returns.
    pub(crate) fn write_temporary(&self, name: &str, content: &[u8]) -> io::Result<String> {
        let temporary = temporary_name(name)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(
            &self.fd,
            temporary.as_str(),
            flags,
            Mode::S_IRUSR | Mode::S_IWUSR,
        )?);
        let written = self
            .give_to_owner(&file)
            .and_then(|()| file.write_all(content))
            .and_then(|()| file.sync_all());
        match written {
            Ok(()) => Ok(temporary),
            Err(error) => {
                self.unlink(&temporary);
                Err(error)
            }
        }
    }

    /// What root makes in the daemon's directory must be the daemon's.
    fn give_to_owner(&self, file: &File) -> io::Result<()> {
        if file.metadata()?.uid() == self.owner {
            return Ok(());
        }
        fchown(file, Some(self.owner), Some(self.group))
    }

    /// Makes `name` with this content, unless there is one: `false`. A link and not a rename, because a rename
    /// overwrites (and the one that does not exists in glibc only).
    fn link_new(&self, name: &str, content: &[u8]) -> io::Result<bool> {
        let temporary = self.write_temporary(name, content)?;
        let linked = linkat(&self.fd, temporary.as_str(), &self.fd, name, AtFlags::empty());
        self.unlink(&temporary);
        match linked {
            Ok(()) => self.fd.sync_all().map(|()| true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes a temporary file. Failure is harmless: the next holder of the lock removes it.
    fn unlink(&self, name: &str) {
        let _ = unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir);
    }

    fn sweep(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            if let Some(name) = entry?.file_name().to_str().filter(|name| is_leftover(name)) {
                self.unlink(name);
            }
        }
        Ok(())
    }
}

impl Lock<'_> {
    /// Makes `name` with this content; an existing file stays as it is.
    pub(crate) fn create(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let made = self.directory.link_new(name, content);
        made.map(drop).map_err(|source| StoreError::Write {
            path: self.directory.join(name),
            source,
        })
    }

    /// Puts a new file in the place of `name` in one step: a reader sees the old one or the new one.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let fd = &self.directory.fd;
        let replaced = self
            .directory
            .write_temporary(name, content)
            .and_then(|temporary| {
                renameat(fd, temporary.as_str(), fd, name)
                    .inspect_err(|_| self.directory.unlink(&temporary))?;
                fd.sync_all()
            });
        replaced.map_err(|source| StoreError::Write {
            path: self.directory.join(name),
            source,
        })
    }
}

#[cfg(test)]
mod tests;
