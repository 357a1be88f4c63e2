//! Files of a process: `stat`, `cgroup`, and the links to its sockets.

use wslnet_daemon::labels::fuzzing::{cgroup, socket_inode, stat};

use crate::printable::assert_line;

/// How many units, and how many slices, are kept.
const KEPT: usize = 16;
/// What units are called.
const UNITS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

pub(super) fn target(file: &[u8]) {
    lifetime(file);
    group(file);
    path(file);
    if let Some(inode) = socket_inode(file) {
        assert_eq!(socket_inode(format!("socket:[{inode}]").as_bytes()), Some(inode));
        assert!(file.starts_with(b"socket:[") && file.ends_with(b"]"));
    }
}

/// The name of the process, which it chooses, changes nothing.
fn lifetime(file: &[u8]) {
    let Some(name_ends) = file.iter().rposition(|byte| *byte == b')') else {
        assert_eq!(stat(file), None);
        return;
    };
    let mut renamed = b"1 (a".to_vec();
    renamed.extend(file.get(name_ends..).unwrap_or_default());
    assert_eq!(stat(file), stat(&renamed));
}

fn group(file: &[u8]) {
    let group = cgroup(file);
    assert!(group.units.len() <= KEPT && group.slices.len() <= KEPT);
    for unit in &group.units {
        assert_line(unit);
        assert!(
            UNITS
                .iter()
                .any(|end| unit.ends_with(end) && unit.len() > end.len())
        );
    }
    for slice in &group.slices {
        assert_line(slice);
        assert!(slice.ends_with(".slice"));
    }
    if let Some(id) = &group.container {
        assert!(id.len() == 64 && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
    }
}

/// Whoever is in a group can make others below it, and hides nothing by that.
fn path(path: &[u8]) {
    if path.contains(&b'\n') || path.ends_with(b" (deleted)") {
        return;
    }
    let outer = cgroup(&[b"0::/", path].concat());
    let inner = cgroup(&[b"0::/", path, &b"/x.slice/y.service".repeat(KEPT)].concat());
    assert!(outer.units.is_empty() || inner.units.last() == outer.units.last());
    assert!(outer.slices.is_empty() || inner.slices.last() == outer.slices.last());
    assert_eq!(inner.container, outer.container);
}
