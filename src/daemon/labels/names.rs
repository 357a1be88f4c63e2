//! Names of users and groups from `/etc/passwd` and `/etc/group`, and whose the user ids are that `/etc/subuid` lends out.
//!
//! Not by getpwuid: that may load modules which ask a directory server, open sockets, or hang.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::value;

/// How much of a file is read, in bytes. A hundred thousand users fit.
const FILE_LIMIT: u64 = 16 << 20;

/// What tells one version of the file from another: modification time (seconds, nanoseconds), size and inode.
type Version = (i64, i64, u64, u64);

/// The names of users, from `/etc/passwd`.
pub(crate) type Users = Names;

/// A file that is read again when it has changed.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    version: Option<Version>,
}

impl Watched {
    fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            version: None,
        }
    }

    /// What is in the file, if it has changed since the last time. A file that cannot be read is empty.
    fn changed(&mut self) -> Option<Vec<u8>> {
        let version = fs::metadata(&self.path)
            .ok()
            .filter(fs::Metadata::is_file)
            .map(|meta| (meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino()));
        if version.is_some() && version == self.version {
            return None;
        }
        self.version = version;
        Some(match version {
            Some(_) => read(&self.path, FILE_LIMIT).unwrap_or_default(),
            None => Vec::new(),
        })
    }
}

/// At most `limit` bytes of a file, without the line that the limit cuts: what is left of it could be another number.
fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
        bytes.truncate(whole);
    }
    Ok(bytes)
}

/// Names by id; reads the file again when it has changed. Users and groups are written alike: `name:x:id:…`.
#[derive(Debug)]
pub(crate) struct Names {
    file: Watched,
    /// The first name of every id; that is the label.
    names: BTreeMap<u32, String>,
    /// The further names of an id.
    others: BTreeMap<String, u32>,
}

impl Names {
    /// The names in a file of the form of `/etc/passwd` or `/etc/group`; none before the first [`Self::refresh`].
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            file: Watched::new(path),
            names: BTreeMap::new(),
            others: BTreeMap::new(),
        }
    }

    /// Reads the file if it has changed since the last time. Without a readable file nobody has a name.
    pub(crate) fn refresh(&mut self) {
        if let Some(bytes) = self.file.changed() {
            (self.names, self.others) = parse(&bytes);
        }
    }

    pub(super) fn name(&self, id: u32) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// Whether a listener can have this name as its label.
    pub(crate) fn is_label(&self, name: &str) -> bool {
        self.names.values().any(|label| label == name)
    }

    /// For a further name: the id, and the name that is the label.
    pub(crate) fn label_instead_of(&self, name: &str) -> Option<(u32, &str)> {
        let id = *self.others.get(name)?;
        Some((id, self.name(id)?))
    }

    /// The id of a name.
    fn id(&self, name: &str) -> Option<u32> {
        let first = self.names.iter().find(|(_, label)| *label == name);
        first
            .map(|(id, _)| *id)
            .or_else(|| self.others.get(name).copied())
    }
}

/// The first name of every id, and the ids of all further names.
fn parse(file: &[u8]) -> (BTreeMap<u32, String>, BTreeMap<String, u32>) {
    let mut names = BTreeMap::new();
    let mut others = BTreeMap::new();
    for line in file.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(id)) = (fields.next(), fields.nth(1)) else {
            continue;
        };
        if let (Some(id), false) = (number(id), name.is_empty()) {
            match names.entry(id) {
                Entry::Vacant(first) => {
                    first.insert(value(name));
                }
                Entry::Occupied(_) => {
                    others.insert(value(name), id);
                }
            }
        }
    }
    (names, others)
}

/// Whose the user ids are that `/etc/subuid` lends out for containers without root (subuid(5)): many ids, one user.
#[derive(Debug)]
pub(super) struct Subordinates {
    file: Watched,
    ranges: Vec<Range>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    owner: u32,
    first: u32,
    count: u32,
}

impl Subordinates {
    /// The ranges in a file of the form of `/etc/subuid`; none before the first [`Self::refresh`].
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            file: Watched::new(path),
            ranges: Vec::new(),
        }
    }

    /// Reads the file if it has changed since the last time. Without a readable file nothing is lent.
    pub(super) fn refresh(&mut self, users: &Names) {
        if let Some(bytes) = self.file.changed() {
            self.ranges = parse_ranges(&bytes, users);
        }
    }

    /// The user who answers for a process of this user.
    pub(super) fn responsible(&self, uid: u32) -> u32 {
        let is_in = |range: &&Range| uid.checked_sub(range.first).is_some_and(|at| at < range.count);
        self.ranges.iter().find(is_in).map_or(uid, |range| range.owner)
    }
}

/// Lines of `name-or-id:first:count`.
fn parse_ranges(file: &[u8], users: &Names) -> Vec<Range> {
    let range = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Range {
            owner: users.id(&value(owner)).or_else(|| number(owner))?,
            first: number(first)?,
            count: number(count)?,
        })
    };
    file.split(|byte| *byte == b'\n').filter_map(range).collect()
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use proptest::prelude::*;
    use wslnet_console::text::is_hostile;

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
    fn groups_are_written_like_users() {
        let (names, _) = parse(b"root:x:0:\nwww-data:x:33:ann,bob\ndocker:!:998\n");

        assert_eq!(names.get(&33).map(String::as_str), Some("www-data"));
        assert_eq!(names.get(&998).map(String::as_str), Some("docker"));
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

    #[test]
    fn a_cut_file_never_gives_a_cut_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwd");
        fs::write(&path, "ann:x:1000:1000:::\nbob:x:1001:1001:::\n").unwrap();

        let cut = read(&path, 27).unwrap();
        let whole = read(&path, 38).unwrap();

        assert_eq!(cut, b"ann:x:1000:1000:::");
        assert!(whole.ends_with(b"bob:x:1001:1001:::\n"));
    }

    #[test]
    fn a_pipe_in_place_of_the_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwd");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut users = Users::new(&path);

        users.refresh();

        assert_eq!(users.name(0), None);
    }

    #[test]
    fn the_ids_of_a_users_containers_are_his() {
        let folder = tempfile::tempdir().unwrap();
        let (passwd, subuid) = (folder.path().join("passwd"), folder.path().join("subuid"));
        fs::write(&passwd, "ann:x:1000:1000:::\n").unwrap();
        fs::write(
            &subuid,
            "ann:100000:65536\nnobody-knows:165536:65536\n1001:300000:2\nodd\nann:4294967295:4294967295\n",
        )
        .unwrap();
        let mut users = Users::new(&passwd);
        let mut lent = Subordinates::new(&subuid);

        users.refresh();
        lent.refresh(&users);

        let responsible = [
            0,
            1000,
            99_999,
            100_000,
            165_535,
            165_536,
            300_001,
            300_002,
            u32::MAX,
        ]
        .map(|uid| lent.responsible(uid));
        assert_eq!(
            responsible,
            [0, 1000, 99_999, 1000, 1000, 165_536, 1001, 300_002, 1000]
        );
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic_or_names_anybody_unprintably(
            lines in proptest::collection::vec(("\\PC{0,8}|[\\x00-\\x1f:]{0,4}", any::<i64>(), any::<Vec<u8>>()), 0..20),
        ) {
            let mut file = Vec::new();
            for (name, id, rest) in lines {
                file.extend(format!("{name}:x:{id}:").into_bytes());
                file.extend(rest);
                file.push(b'\n');
            }
            let folder = tempfile::tempdir().unwrap();

            let (names, others) = parse(&file);
            parse_ranges(&file, &Users::new(folder.path().join("absent")));

            for name in names.values().chain(others.keys()) {
                prop_assert!(!name.chars().any(is_hostile));
            }
        }
    }
}
