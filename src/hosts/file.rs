//! A hosts file on the disk: read, compared, and replaced as a whole. A reader sees the old file or the new one, and what others
//! wrote while the new one was made is not lost: then it is made again.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as platform;

use crate::block::{self, Rewritten};
use crate::name::{HostName, Names};

/// Longest file that is read. Lists of hosts to block have a few megabytes.
const LIMIT: u64 = 16 << 20;

/// How often the new file is made again because somebody else wrote the old one meanwhile.
const RACES: usize = 5;

/// Why the block is not as it should be. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("{0} does not exist: make an empty one")]
    Missing(PathBuf),
    /// Replacing a link would leave two files where its owner wanted one.
    #[error("{0} is a symbolic link, which somebody else looks after")]
    Link(PathBuf),
    /// It is a folder or a device.
    #[error("{0} is not a plain file")]
    NotAFile(PathBuf),
    /// It is longer than any hosts file should be.
    #[error("{0} is longer than {LIMIT} bytes")]
    TooLong(PathBuf),
    /// See [`block::Utf16`].
    #[error("{0} is UTF-16, which no system reads as a hosts file: save it as UTF-8")]
    Utf16(PathBuf),
    /// Windows marks files so.
    #[error("{0} is marked as read-only")]
    Marked(PathBuf),
    /// This program may not.
    #[error("there is no right to write {0}")]
    NoRight(PathBuf),
    /// Nobody may.
    #[error("{0} is on a read-only file system")]
    ReadOnly(PathBuf),
    /// So container engines put their own file there. It cannot be replaced, only overwritten, which a reader could see half done.
    #[error("{0} is a mount of its own, as in a container, and cannot be replaced")]
    Mounted(PathBuf),
    /// Somebody has it open and does not share it.
    #[error("another program holds {0}")]
    Held(PathBuf),
    /// Each new file was outdated before it was in place.
    #[error("another program keeps writing {0}")]
    Contended(PathBuf),
    /// Anything else.
    #[error("cannot {doing} {path}: {source}")]
    Other {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What became of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Those that were left out, as lines of others have them.
    pub taken: BTreeSet<HostName>,
    /// Whether the file was another one before.
    pub changed: bool,
}

/// A hosts file.
#[derive(Clone, Debug)]
pub struct HostsFile {
    path: PathBuf,
    /// As it was when it was last found to be as it should.
    settled: Option<Settled>,
}

#[derive(Clone, Debug)]
struct Settled {
    stamp: Stamp,
    names: Names,
    taken: BTreeSet<HostName>,
}

/// Two that differ mean that the file was written in between.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    /// The file's own times; only compared with each other.
    times: [Option<SystemTime>; 2],
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            times: [metadata.modified().ok(), metadata.created().ok()],
        }
    }
}

/// Where this system's hosts file is.
///
/// # Errors
/// On Windows, when the system does not say where it is installed.
pub fn system_path() -> io::Result<PathBuf> {
    platform::system_path()
}

impl HostsFile {
    /// The file at this path.
    pub fn new(path: PathBuf) -> Self {
        Self { path, settled: None }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What [`put`](Self::put) would do, without doing it.
    ///
    /// # Errors
    /// When the file cannot be read, or is none to write into.
    pub fn look(&mut self, names: &Names) -> Result<Written, FileError> {
        let (metadata, settled) = self.look_first(names)?;
        if let Some(written) = settled {
            return Ok(written);
        }
        let old = self.read()?;
        let Rewritten { bytes, taken } = self.rewrite(&old, names)?;
        let changed = matches!(bytes, Cow::Owned(_));
        if !changed {
            self.settle(&metadata, names, &taken);
        }
        Ok(Written { taken, changed })
    }

    /// Makes the block of the file hold these names and no others. Waits a moment for programs that hold the file.
    ///
    /// # Errors
    /// Why it could not. The file is as it was.
    pub fn put(&mut self, names: &Names) -> Result<Written, FileError> {
        for _ in 0..RACES {
            let (metadata, settled) = self.look_first(names)?;
            if let Some(written) = settled {
                return Ok(written);
            }
            let old = self.read()?;
            let Rewritten { bytes, taken } = self.rewrite(&old, names)?;
            let Cow::Owned(new) = bytes else {
                self.settle(&metadata, names, &taken);
                return Ok(Written {
                    taken,
                    changed: false,
                });
            };
            if metadata.permissions().readonly() && platform::HEEDS_READ_ONLY {
                return Err(FileError::Marked(self.path.clone()));
            }
            let temporary = self.write_temporary(&new, &metadata)?;
            if Stamp::of(&self.metadata()?) != Stamp::of(&metadata) {
                remove(&temporary);
                continue;
            }
            if let Err(error) = platform::replace(&temporary, &self.path) {
                // Where even its place is empty, it is all there is.
                if self.path.exists() {
                    remove(&temporary);
                }
                return Err(self.because("replace", error));
            }
            // Somebody may have written it since: the next look reads it.
            self.settled = None;
            return Ok(Written { taken, changed: true });
        }
        Err(FileError::Contended(self.path.clone()))
    }

    /// Finds out whether the file could be replaced, as far as that shows without doing it.
    ///
    /// # Errors
    /// Why not.
    pub fn probe(&self) -> Result<(), FileError> {
        let metadata = self.metadata()?;
        if metadata.permissions().readonly() && platform::HEEDS_READ_ONLY {
            return Err(FileError::Marked(self.path.clone()));
        }
        remove(&self.write_temporary(&[], &metadata)?);
        Ok(())
    }

    fn look_first(&self, names: &Names) -> Result<(Metadata, Option<Written>), FileError> {
        let metadata = self.metadata()?;
        let settled = self.settled.as_ref();
        let settled = settled.filter(|last| last.stamp == Stamp::of(&metadata) && last.names == *names);
        let written = settled.map(|last| Written {
            taken: last.taken.clone(),
            changed: false,
        });
        Ok((metadata, written))
    }

    fn settle(&mut self, metadata: &Metadata, names: &Names, taken: &BTreeSet<HostName>) {
        self.settled = Some(Settled {
            stamp: Stamp::of(metadata),
            names: names.clone(),
            taken: taken.clone(),
        });
    }

    fn metadata(&self) -> Result<Metadata, FileError> {
        let found = fs::symlink_metadata(&self.path);
        let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let found = match found {
            Err(error) if missing(&error) && self.restore() => fs::symlink_metadata(&self.path),
            found => found,
        };
        match found {
            Err(error) if missing(&error) => Err(FileError::Missing(self.path.clone())),
            Err(error) => Err(self.because("look at", error)),
            Ok(metadata) if metadata.is_symlink() => Err(FileError::Link(self.path.clone())),
            Ok(metadata) if !metadata.is_file() => Err(FileError::NotAFile(self.path.clone())),
            Ok(metadata) => Ok(metadata),
        }
    }

    fn read(&self) -> Result<Vec<u8>, FileError> {
        let mut content = Vec::new();
        File::open(&self.path)
            .and_then(|file| file.take(LIMIT + 1).read_to_end(&mut content))
            .map_err(|error| self.because("read", error))?;
        if content.len() as u64 > LIMIT {
            return Err(FileError::TooLong(self.path.clone()));
        }
        Ok(content)
    }

    fn rewrite<'a>(&self, old: &'a [u8], names: &Names) -> Result<Rewritten<'a>, FileError> {
        block::rewrite(old, names, platform::LINE_END)
            .map_err(|block::Utf16| FileError::Utf16(self.path.clone()))
    }

    /// A new file beside this one, complete and on the disk, with the owner and the mode of this one where the system does
    /// not see to that itself.
    fn write_temporary(&self, content: &[u8], like: &Metadata) -> Result<PathBuf, FileError> {
        self.sweep();
        let path = self.temporary(&std::process::id().to_string());
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = made.map_err(|error| self.because("write beside", error))?;
        let written = file
            .write_all(content)
            .and_then(|()| platform::make_alike(&file, like))
            .and_then(|()| file.sync_all());
        // Windows replaces no file that is open.
        drop(file);
        written.map_err(|error| {
            remove(&path);
            self.because("write beside", error)
        })?;
        Ok(path)
    }

    /// The name of the new file while it is made, by the process that makes it.
    fn temporary(&self, process: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".wslnet-{process}.tmp"));
        self.path.with_file_name(name)
    }

    /// Files of processes that died while they made them. Should one of them be alive, it fails and tries again.
    fn leftovers(&self) -> Vec<PathBuf> {
        let marked = self.temporary("*");
        let marked = marked.file_name().and_then(|name| name.to_str());
        let Some((start, end)) = marked.and_then(|name| name.split_once('*')) else {
            return Vec::new();
        };
        let folder = self.path.parent().and_then(|folder| fs::read_dir(folder).ok());
        let entries = folder.into_iter().flatten().flatten();
        let is_one = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            name.to_str()
                .is_some_and(|name| name.starts_with(start) && name.ends_with(end))
        };
        entries.filter(is_one).map(|entry| entry.path()).collect()
    }

    fn sweep(&self) {
        self.leftovers().iter().for_each(|path| remove(path));
    }

    /// Completes a replacement that was interrupted when the old file was gone already. Linux has no such moment.
    fn restore(&self) -> bool {
        let leftover = self.leftovers().into_iter().next();
        platform::REPLACES_IN_TWO_STEPS && leftover.is_some_and(|new| fs::rename(new, &self.path).is_ok())
    }

    fn because(&self, doing: &'static str, source: io::Error) -> FileError {
        let path = self.path.clone();
        if platform::is_held(&source) {
            return FileError::Held(path);
        }
        if source.kind() == io::ErrorKind::PermissionDenied {
            FileError::NoRight(path)
        } else if source.kind() == io::ErrorKind::ReadOnlyFilesystem {
            FileError::ReadOnly(path)
        } else if source.kind() == io::ErrorKind::ResourceBusy {
            FileError::Mounted(path)
        } else {
            FileError::Other { doing, path, source }
        }
    }
}

/// Removes a temporary file. Failure is harmless: the next one who writes removes it.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "a temporary file stays for a while");
    }
}

#[cfg(test)]
mod tests;
