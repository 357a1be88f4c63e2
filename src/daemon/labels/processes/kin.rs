//! Who is near to a process: its ancestors, and the processes of its control group.
//!
//! A second holder of a socket is nearly always one of them: whoever made the socket and forked the one that listens, or was forked
//! together with it by the same service.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use super::Processes;

/// How many processes a control group may have. They are looked into while the next listener waits.
const MATES: usize = 64;
/// How many ancestors are looked for.
const ANCESTORS: usize = 64;
/// A PID is no longer than ten digits, and each has a line.
const LIST_LIMIT: u64 = 11 * (MATES as u64 + 1);

/// The first words of the lines of `/proc/PID/cgroup` that are of use, behind the number of the hierarchy, and where these hierarchies may be
/// mounted, below /sys/fs/cgroup: cgroup v2, alone or beside v1, and systemd's own of v1.
const HIERARCHIES: [(&[u8], &[&str]); 2] = [(b"::", &["", "unified"]), (b":name=systemd:", &["systemd"])];

impl Processes {
    /// The process, its ancestors, and all of its control group. `None` when these cannot be told, are too many, or the group is
    /// the one of all who are in no other.
    pub(super) fn kin(&self, pid: i32) -> Option<BTreeSet<i32>> {
        let mut kin = self.mates(pid)?;
        let mut at = pid;
        for _ in 0..ANCESTORS {
            at = self.process(at)?.parent()?;
            if at == 0 {
                return Some(kin);
            }
            kin.insert(at);
        }
        None
    }

    /// All processes of the process's control group.
    fn mates(&self, pid: i32) -> Option<BTreeSet<i32>> {
        let file = self.process(pid)?.groups().ok()?;
        for (name, mounts) in HIERARCHIES {
            let Some(group) = group_in(&file, name) else {
                continue;
            };
            for mount in mounts {
                let list = self.groups.join(mount).join(group).join("cgroup.procs");
                let Ok(list) = read(&list) else { continue };
                // Where the mount shows other groups than the file names, as in a container, this may be somebody else's.
                let mates = parse(&list).filter(|mates| mates.contains(&pid))?;
                return Some(mates);
            }
        }
        None
    }
}

/// The process's group in this hierarchy, relative to where that is mounted; `None` for the root, and for one outside.
fn group_in<'a>(file: &'a [u8], name: &[u8]) -> Option<&'a Path> {
    let mut lines = file.split(|byte| *byte == b'\n');
    let path = lines.find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line.get(colon..)?.strip_prefix(name)
    })?;
    let group = Path::new(OsStr::from_bytes(path.strip_prefix(b"/")?));
    let is_inside = |part: Component<'_>| matches!(part, Component::Normal(_));
    (group.components().next().is_some() && group.components().all(is_inside)).then_some(group)
}

/// The PIDs in `cgroup.procs`; `None` when there are too many. Those of other distros are zeros.
fn parse(list: &[u8]) -> Option<BTreeSet<i32>> {
    let lines: Vec<&[u8]> = list
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    if lines.len() > MATES {
        return None;
    }
    let pid = |line: &[u8]| std::str::from_utf8(line).ok()?.parse().ok();
    let pids: BTreeSet<i32> = lines.into_iter().map(pid).collect::<Option<_>>()?;
    Some(pids.into_iter().filter(|pid| *pid > 0).collect())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIST_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_below_the_mount_is_one() {
        let of = |file: &str, name: &str| group_in(file.as_bytes(), name.as_bytes()).map(Path::to_owned);
        let both = "12:memory:/a\n1:name=systemd:/system.slice/x.service\n0::/b/c\n";

        assert_eq!(of(both, "::"), Some("b/c".into()));
        assert_eq!(of(both, ":name=systemd:"), Some("system.slice/x.service".into()));
        for odd in [
            "0::/",
            "0::/../x",
            "0::/a/../../x",
            "0::",
            "1:name=systemd:/a",
            "",
            "0::a",
        ] {
            assert_eq!(of(odd, "::"), None, "{odd}");
        }
    }

    #[test]
    fn a_list_is_read_up_to_its_limit() {
        let list = |count: i32| (1..=count).map(|pid| format!("{pid}\n")).collect::<String>();
        let longest = |count: usize| "2147483647\n".repeat(count);

        assert_eq!(parse(b"12\n0\n7\n"), Some(BTreeSet::from([7, 12])));
        assert_eq!(parse(b"12\nx\n"), None);
        assert_eq!(parse(list(64).as_bytes()).map(|mates| mates.len()), Some(64));
        assert_eq!(parse(list(65).as_bytes()), None);
        assert!(longest(65).len() as u64 <= LIST_LIMIT);
    }
}
