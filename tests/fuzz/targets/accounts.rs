//! `/etc/passwd` and `/etc/subuid`, with an empty line between them.

#![expect(clippy::expect_used, reason = "a target fails by panicking")]

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use wslnet_daemon::labels::fuzzing::Accounts;

use crate::printable::assert_line;

/// Two files.
struct Files {
    passwd: PathBuf,
    subuid: PathBuf,
    _folder: TempDir,
}

thread_local! {
    static FILES: Files = Files::new();
}

impl Files {
    fn new() -> Self {
        // In memory, where there is such a place.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.expect("a folder");
        Self {
            passwd: folder.path().join("passwd"),
            subuid: folder.path().join("subuid"),
            _folder: folder,
        }
    }

    fn read(&self, passwd: &[u8], subuid: &[u8]) -> Accounts {
        fs::write(&self.passwd, passwd).expect("written");
        fs::write(&self.subuid, subuid).expect("written");
        Accounts::read(&self.passwd, &self.subuid)
    }
}

pub(super) fn target(bytes: &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (passwd, subuid) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
    let accounts = FILES.with(|files| files.read(passwd, subuid));

    let mut first = Vec::new();
    for (name, uid) in users(passwd) {
        let label = accounts.name(uid).expect("each of them has a name");
        assert_line(label);
        if first.contains(&uid) {
            let (other, instead) = accounts.label_instead_of(&name).expect("a further name");
            assert_eq!(accounts.name(other), Some(instead));
        } else {
            assert_eq!(label, name);
            first.push(uid);
        }
        assert_eq!(accounts.responsible(uid), responsible(uid, subuid, passwd));
    }
    for uid in [0, 1, 99_999, 100_000, 165_535, u32::MAX] {
        assert_eq!(accounts.name(uid).is_some(), first.contains(&uid));
        assert_eq!(accounts.responsible(uid), responsible(uid, subuid, passwd));
    }
}

/// The names and the numbers, line by line.
fn users(passwd: &[u8]) -> Vec<(String, u32)> {
    let user = |line: Vec<String>| {
        Some((
            line.first().filter(|name| !name.is_empty())?.clone(),
            line.get(2)?.parse().ok()?,
        ))
    };
    lines(passwd).filter_map(user).collect()
}

/// Whoever was lent the number first.
fn responsible(uid: u32, subuid: &[u8], passwd: &[u8]) -> u32 {
    let users = users(passwd);
    let lent = lines(subuid).find_map(|line| {
        let [owner, start, count] = line.first_chunk()?;
        let named = named(&users, owner).or_else(|| owner.parse().ok())?;
        let (start, count): (u32, u32) = (start.parse().ok()?, count.parse().ok()?);
        let (start, uid) = (u64::from(start), u64::from(uid));
        (start..start + u64::from(count)).contains(&uid).then_some(named)
    });
    lent.unwrap_or(uid)
}

/// The user of that name: one whose first name it is, or else the last whose further name it is.
fn named(users: &[(String, u32)], wanted: &str) -> Option<u32> {
    let is_first = |at: usize| {
        !users
            .iter()
            .take(at)
            .any(|(_, uid)| Some(*uid) == users.get(at).map(|(_, uid)| *uid))
    };
    let mut of_that_name: Vec<(bool, u32)> = Vec::new();
    for (at, (name, uid)) in users.iter().enumerate() {
        if name == wanted {
            of_that_name.push((is_first(at), *uid));
        }
    }
    let first = of_that_name
        .iter()
        .filter(|(is_first, _)| *is_first)
        .map(|(_, uid)| *uid)
        .min();
    first.or_else(|| of_that_name.last().map(|(_, uid)| *uid))
}

/// The fields of each line, safe to print.
fn lines(file: &[u8]) -> impl Iterator<Item = Vec<String>> {
    let field = |field: &[u8]| wslnet_console::text::clean(field, 4096);
    file.split(|byte| *byte == b'\n')
        .map(move |line| line.split(|byte| *byte == b':').map(field).collect())
}
