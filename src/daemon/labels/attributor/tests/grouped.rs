//! Holders in real control groups.

use std::path::PathBuf;

use super::real::Stage;
use std::fs;

use super::*;
use crate::left_out::left_out;

/// Where a hierarchy may be mounted that units are read from: systemd's own of cgroup v1, cgroup v2 beside it, and alone.
const HIERARCHIES: [&str; 3] = [
    "/sys/fs/cgroup/systemd",
    "/sys/fs/cgroup/unified",
    "/sys/fs/cgroup",
];

#[test]
fn a_process_has_the_units_and_the_slice_of_its_group_and_others_when_it_moves() {
    let Some(slice) = Slice::make("units") else {
        return;
    };
    let mut stage = Stage::new();
    let start = Instant::now();

    slice.adopt("demo.service", stage.pid());
    let first = stage.at(start);
    slice.adopt("demo.service/inner/own.scope", stage.pid());
    let second = stage.at(start + VERIFY);

    assert_eq!(first.get("unit"), Some("demo.service"));
    assert_eq!(
        second.values("unit").take(2).collect::<Vec<_>>(),
        ["own.scope", "demo.service"]
    );
    assert_eq!(first.get("slice"), Some(slice.name()));
    assert_eq!(second.get("slice"), Some(slice.name()));
}

#[test]
fn a_process_that_listens_brings_its_ancestors_and_its_group_along() {
    let Some(slice) = Slice::make("near") else {
        return;
    };
    let mut stage = Stage::new();
    let workers: Vec<String> = (0..2).map(|_| stage.order("fork")).collect();
    let pids: Vec<u32> = workers.iter().map(|pid| pid.parse().unwrap()).collect();
    let mut all = vec![stage.pid().to_string()];
    all.extend(workers.clone());
    all.sort();
    let near = |stage: &mut Stage| {
        let mut pids = stage.holders_near(pids[0]);
        pids.sort();
        pids
    };

    slice.adopt("a.service", pids[0]);
    let by_descent = near(&mut stage);
    slice.adopt("a.service", pids[1]);
    let by_group = near(&mut stage);

    let mut family = vec![stage.pid().to_string(), workers[0].clone()];
    family.sort();
    assert_eq!(by_descent, family);
    assert_eq!(by_group, all);
}

/// A slice of our own, with all that is below it.
struct Slice(PathBuf);

impl Slice {
    /// `None` where control groups cannot be made; in continuous integration that is a failure.
    fn make(name: &str) -> Option<Self> {
        let name = format!("wslnetdtest{name}{}.slice", std::process::id());
        let slice = HIERARCHIES
            .iter()
            .map(|folder| PathBuf::from(folder).join(&name))
            .find(|path| fs::create_dir(path).is_ok() && path.join("cgroup.procs").exists())
            .map(Self);
        if slice.is_none() {
            left_out("this process cannot make control groups");
        }
        slice
    }

    fn name(&self) -> &str {
        self.0.file_name().unwrap().to_str().unwrap()
    }

    fn adopt(&self, group: &str, pid: u32) {
        let group = self.0.join(group);
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// A group is a folder whose files go by themselves.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
