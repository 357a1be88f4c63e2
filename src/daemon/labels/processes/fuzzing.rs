//! Doors for the fuzz targets (`tests/fuzz`) to the parsers of a process's files, as they are.

use super::cgroup;
use super::stat::Stat;

/// What `/proc/PID/stat` tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The process that started it.
    pub parent: i32,
    /// When it started.
    pub start_time: u64,
    /// Where its program and environment lie.
    pub places: Vec<u64>,
}

/// What `/proc/PID/cgroup` tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// The units, the innermost first.
    pub units: Vec<String>,
    /// The slices, the innermost first.
    pub slices: Vec<String>,
    /// The id of the outermost container.
    pub container: Option<String>,
}

/// Reads `/proc/PID/stat`.
pub fn stat(file: &[u8]) -> Option<Lifetime> {
    let stat = Stat::parse(file)?;
    Some(Lifetime {
        parent: stat.parent,
        start_time: stat.start_time,
        places: stat.places.to_vec(),
    })
}

/// Reads `/proc/PID/cgroup`.
pub fn cgroup(file: &[u8]) -> Group {
    let cgroup = cgroup::Cgroup::parse(file);
    Group {
        units: cgroup.units,
        slices: cgroup.slices,
        container: cgroup.container,
    }
}

/// Reads the target of a link in `/proc/PID/fd`.
pub fn socket_inode(target: &[u8]) -> Option<u64> {
    super::socket_inode(target)
}
