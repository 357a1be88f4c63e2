//! A log in a file, for programs that nobody watches: bounded, with one file of older lines beside it.
//!
//! Own code, because the crates that do it (`tracing-appender`, `file-rotate`) turn files over by the calendar, and bring a calendar.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How large the file may get, in bytes; the older one is as large at most.
const LIMIT: u64 = 1 << 20;

/// The file, open to be appended to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// `None` for the moment in which it is turned over, and when that failed.
    file: Option<File>,
    size: u64,
    limit: u64,
}

impl LogFile {
    /// Opens the file, and makes it where it is missing. Its folder must be there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, LIMIT)
    }

    fn with_limit(path: &Path, limit: u64) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
            size,
            limit,
        })
    }

    /// Makes the file the older one, and begins a new one. Where somebody holds the older one, the lines are lost: the bound holds.
    fn turn_over(&mut self) -> io::Result<()> {
        // Windows renames no file that is open.
        self.file = None;
        let file = match std::fs::rename(&self.path, older(&self.path)) {
            Ok(()) => append(&self.path)?,
            Err(_) => OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(true)
                .open(&self.path)?,
        };
        (self.file, self.size) = (Some(file), 0);
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.file.is_none() || (self.size > 0 && self.size + lines.len() as u64 > self.limit) {
            self.turn_over()?;
        }
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), File::flush)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Where the older lines are.
fn older(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn two_files_hold_the_newest_lines_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();

        let mut log = LogFile::with_limit(&path, 10).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }

        assert_eq!(read(&older(&path)), "three\n");
        assert_eq!(read(&path), "four\n");
    }

    #[test]
    fn a_former_run_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "12345678").unwrap();

        let mut log = LogFile::with_limit(&path, 10).unwrap();
        log.write_all(b"new\n").unwrap();

        assert_eq!(std::fs::read(older(&path)).unwrap(), b"12345678");
        assert_eq!(std::fs::read(&path).unwrap(), b"new\n");
    }

    #[test]
    fn where_the_older_file_cannot_be_replaced_the_bound_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::create_dir(older(&path)).unwrap();

        let mut log = LogFile::with_limit(&path, 10).unwrap();
        for _ in 0..5 {
            log.write_all(b"12345678").unwrap();
        }

        assert_eq!(std::fs::read(&path).unwrap().len(), 8);
    }
}
