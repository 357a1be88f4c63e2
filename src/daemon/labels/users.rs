//! Names of users from `/etc/passwd`.
//!
//! Not by getpwuid: that may load modules which ask a directory server, open sockets, or hang.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::value;

/// What tells one version of the file from another: modification time (seconds, nanoseconds), size and inode.
type Version = (i64, i64, u64, u64);

/// User names by id; reads the file again when it has changed.
#[derive(Debug)]
pub(super) struct Users {
    path: PathBuf,
    version: Option<Version>,
    names: BTreeMap<u32, String>,
}

impl Users {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            version: None,
            names: BTreeMap::new(),
        }
    }

    /// Reads the file if it has changed since the last time. Without a readable file nobody has a name.
    pub(super) fn refresh(&mut self) {
        let version = fs::metadata(&self.path)
            .ok()
            .map(|meta| (meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino()));
        if version.is_some() && version == self.version {
            return;
        }
        self.names = fs::read(&self.path)
            .map(|bytes| parse(&bytes))
            .unwrap_or_default();
        self.version = version;
    }

    pub(super) fn name(&self, uid: u32) -> Option<&str> {
        self.names.get(&uid).map(String::as_str)
    }
}

/// The first name of every user id.
fn parse(file: &[u8]) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for line in file.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else {
            continue;
        };
        let uid = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok());
        if let (Some(uid), false) = (uid, name.is_empty()) {
            names.entry(uid).or_insert_with(|| value(name));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn the_first_name_of_an_id_counts_and_odd_lines_do_not() {
        let names = parse(b"root:x:0:0::/root:/bin/sh\n\n# note\ntoor:x:0:0:::\nweb\x1b:x:33:33:::\nbad:x:-1:0:::\n+::::::\n");

        assert_eq!(
            names,
            BTreeMap::from([(0, "root".to_owned()), (33, "web\u{fffd}".to_owned())])
        );
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_missing_one_names_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwd");
        let mut users = Users::new(&path);

        users.refresh();
        let absent = users.name(1000).map(str::to_owned);
        fs::write(&path, "ann:x:1000:1000:::\n").unwrap();
        users.refresh();
        let first = users.name(1000).map(str::to_owned);
        fs::write(&path, "annabel:x:1000:1000:::\n").unwrap();
        users.refresh();

        assert_eq!(absent, None);
        assert_eq!(first.as_deref(), Some("ann"));
        assert_eq!(users.name(1000), Some("annabel"));
    }
}
