//! Which entries of Windows' portproxy are ours: a file of the state directory, on the disk before the entry is made. So
//! whatever ends this program, the next one knows what it left behind. An entry in the journal that is not in the registry is
//! no error: it was not made yet, or is gone already.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wslnet_link::{StoreError, read_state_file, replace_state_file};

use super::entry::Entry;

/// The file in the state directory.
pub const FILE: &str = "portproxy.json";
/// Of which shape the file is. Another number is another program's.
const VERSION: u32 = 1;
/// The most entries that are ours at once: two for each of the 4,096 forwards that a set may have.
pub const ENTRIES: usize = 8192;
/// The longest file that is read, in bytes; [`ENTRIES`] with the longest texts fit.
const LIMIT: usize = 16 << 20;

/// What is ours, by where it listens.
pub type Ours = BTreeMap<SocketAddr, Mine>;

/// One entry of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mine {
    /// What it connects to.
    pub connect: SocketAddr,
    /// For which distro.
    pub distro: String,
    /// In which run of the VM `connect` was that distro's: the boot id.
    pub vm: String,
}

impl Mine {
    /// The entry in the registry.
    pub fn entry(&self, listen: SocketAddr) -> Entry {
        Entry::new(listen, self.connect)
    }
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("the journal of portproxy entries cannot be used")]
    Store(#[from] StoreError),
    /// It holds something else.
    #[error(
        "{FILE} in the state directory is no journal of portproxy entries, so which of them are ours is not known: \
         compare it with the registry, remove what is ours by hand, then delete the file"
    )]
    Content(#[source] serde_json::Error),
    /// It is written by another release.
    #[error(
        "{FILE} in the state directory is of version {0}: install the release that wrote it, and run its `purge`"
    )]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    entries: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    listen: SocketAddr,
    connect: SocketAddr,
    distro: String,
    vm: String,
}

/// Only the version, which decides what the rest means.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// Reads what is ours. No file, nothing ours.
///
/// # Errors
/// See [`JournalError`]. Then nothing is known, and the file must not be written over.
pub fn load(state_dir: &Path) -> Result<Ours, JournalError> {
    let Some(content) = read_state_file(state_dir, FILE, LIMIT)? else {
        return Ok(Ours::new());
    };
    parse(&content)
}

pub(super) fn parse(content: &[u8]) -> Result<Ours, JournalError> {
    let Head { version } = serde_json::from_slice(content).map_err(JournalError::Content)?;
    if version != VERSION {
        return Err(JournalError::Version(version));
    }
    let document: Document = serde_json::from_slice(content).map_err(JournalError::Content)?;
    let mine = |line: Line| {
        let Line {
            listen,
            connect,
            distro,
            vm,
        } = line;
        (listen, Mine { connect, distro, vm })
    };
    Ok(document.entries.into_iter().map(mine).collect())
}

/// Writes what is ours; it is on the disk when this returns.
///
/// # Errors
/// It cannot be written; the former journal is still there.
pub fn save(state_dir: &Path, ours: &Ours) -> Result<(), JournalError> {
    let line = |(listen, mine): (&SocketAddr, &Mine)| Line {
        listen: *listen,
        connect: mine.connect,
        distro: mine.distro.clone(),
        vm: mine.vm.clone(),
    };
    let document = Document {
        version: VERSION,
        entries: ours.iter().map(line).collect(),
    };
    let content = serde_json::to_vec(&document).map_err(JournalError::Content)?;
    Ok(replace_state_file(state_dir, FILE, &content)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// As a release has written it: every later one must read it.
    const GOLDEN: &str = r#"{"version":1,"entries":[{"listen":"192.168.1.20:8000","connect":"172.20.0.2:80","distro":"ubuntu","vm":"f2b3"},{"listen":"[2001:db8::20]:8000","connect":"172.20.0.2:80","distro":"ubuntu","vm":"f2b3"}]}"#;

    #[test]
    fn what_is_written_is_read_back_and_looks_as_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mine = Mine {
            connect: "172.20.0.2:80".parse().unwrap(),
            distro: "ubuntu".into(),
            vm: "f2b3".into(),
        };
        let listens = ["192.168.1.20:8000", "[2001:db8::20]:8000"].map(|text| text.parse().unwrap());
        let ours: Ours = listens.into_iter().map(|listen| (listen, mine.clone())).collect();

        save(dir.path(), &ours).unwrap();

        assert_eq!(std::fs::read_to_string(dir.path().join(FILE)).unwrap(), GOLDEN);
        assert_eq!(load(dir.path()).unwrap(), ours);
    }

    #[test]
    fn no_file_means_that_nothing_is_ours() {
        assert_eq!(load(tempfile::tempdir().unwrap().path()).unwrap(), Ours::new());
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        for bad in ["", "{}", "[]", r#"{"version":1}"#, &GOLDEN[..GOLDEN.len() - 1]] {
            assert!(
                matches!(parse(bad.as_bytes()), Err(JournalError::Content(_))),
                "{bad}"
            );
        }
        let later = r#"{"version":2,"rows":[]}"#;
        assert!(matches!(parse(later.as_bytes()), Err(JournalError::Version(2))));
    }
}
