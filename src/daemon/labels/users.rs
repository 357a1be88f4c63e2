//! Names of users from `/etc/passwd`.
//!
//! Not by getpwuid: that may load modules which ask a directory server, open sockets, or hang.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::value;

/// What tells one version of the file from another: modification time (seconds, nanoseconds), size and inode.
type Version = (i64, i64, u64, u64);

/// User names by id; reads the file again when it has changed.
#[derive(Debug)]
pub(crate) struct Users {
    path: PathBuf,
    version: Option<Version>,
    /// The first name of every id; that is the label.
    names: BTreeMap<u32, String>,
    /// The further names of an id.
    others: BTreeMap<String, u32>,
}

impl Users {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            version: None,
            names: BTreeMap::new(),
            others: BTreeMap::new(),
        }
    }

    /// Reads the file if it has changed since the last time. Without a readable file nobody has a name.
    pub(crate) fn refresh(&mut self) {
        let version = fs::metadata(&self.path)
            .ok()
            .map(|meta| (meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino()));
        if version.is_some() && version == self.version {
            return;
        }
        (self.names, self.others) = fs::read(&self.path)
            .map(|bytes| parse(&bytes))
            .unwrap_or_default();
        self.version = version;
    }

    pub(super) fn name(&self, uid: u32) -> Option<&str> {
        self.names.get(&uid).map(String::as_str)
    }

    /// Whether a listener can have this name as its label.
    pub(crate) fn is_label(&self, name: &str) -> bool {
        self.names.values().any(|label| label == name)
    }

    /// For a further name of a user: the user's id, and the name that is the label.
    pub(crate) fn label_instead_of(&self, name: &str) -> Option<(u32, &str)> {
        let uid = *self.others.get(name)?;
        Some((uid, self.name(uid)?))
    }
}

/// The first name of every user id, and the ids of all further names.
fn parse(file: &[u8]) -> (BTreeMap<u32, String>, BTreeMap<String, u32>) {
    let mut names = BTreeMap::new();
    let mut others = BTreeMap::new();
    for line in file.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else {
            continue;
        };
        let uid = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok());
        if let (Some(uid), false) = (uid, name.is_empty()) {
            match names.entry(uid) {
                Entry::Vacant(first) => {
                    first.insert(value(name));
                }
                Entry::Occupied(_) => {
                    others.insert(value(name), uid);
                }
            }
        }
    }
    (names, others)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn the_first_name_of_an_id_counts_and_odd_lines_do_not() {
        let (names, others) = parse(b"root:x:0:0::/root:/bin/sh\n\n# note\ntoor:x:0:0:::\nweb\x1b:x:33:33:::\nbad:x:-1:0:::\n+::::::\n");

        assert_eq!(
            names,
            BTreeMap::from([(0, "root".to_owned()), (33, "web\u{fffd}".to_owned())])
        );
        assert_eq!(others, BTreeMap::from([("toor".to_owned(), 0)]));
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
