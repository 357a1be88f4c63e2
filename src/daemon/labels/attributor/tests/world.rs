//! A made-up /proc.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::*;

/// A /proc and a passwd file made of plain files.
pub(super) struct World {
    pub(super) folder: TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("proc")).unwrap();
        fs::write(folder.path().join("passwd"), "ann:x:1000:1000:::\n").unwrap();
        Self { folder }
    }

    pub(super) fn attributor(&self) -> Attributor {
        patient(Attributor::with_paths(&self.path("proc"), &self.path("cgroup"), self.folder.path()).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The user and group to whom all of the made-up processes belong.
    pub(super) fn owner(&self) -> (u32, u32) {
        let meta = fs::metadata(self.folder.path()).unwrap();
        (meta.uid(), meta.gid())
    }

    pub(super) fn file(&self, pid: i32, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(format!("proc/{pid}/{name}")), content).unwrap();
    }

    pub(super) fn process(&self, pid: i32, start_time: u64, name: &str, sockets: &[(i32, u64)]) {
        let folder = self.folder.path().join(format!("proc/{pid}"));
        fs::create_dir_all(folder.join("fd")).unwrap();
        let zeros = "0 ".repeat(18);
        fs::write(
            folder.join("stat"),
            format!("{pid} ({name}) S {zeros}{start_time} 0\n"),
        )
        .unwrap();
        fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
        self.program(pid, &format!("/usr/bin/{name}"));
        for (fd, inode) in sockets {
            symlink(format!("socket:[{inode}]"), folder.join(format!("fd/{fd}"))).unwrap();
        }
    }

    /// Gives a process one more descriptor.
    pub(super) fn link(&self, pid: i32, fd: i32, inode: u64) {
        let link = self.path(&format!("proc/{pid}/fd/{fd}"));
        symlink(format!("socket:[{inode}]"), link).unwrap();
    }

    pub(super) fn thread(&self, pid: i32, thread: i32, sockets: &[(i32, u64)]) {
        let fds = self.folder.path().join(format!("proc/{pid}/task/{thread}/fd"));
        fs::create_dir_all(&fds).unwrap();
        for (fd, inode) in sockets {
            symlink(format!("socket:[{inode}]"), fds.join(fd.to_string())).unwrap();
        }
    }

    pub(super) fn program(&self, pid: i32, path: &str) {
        let exe = self.folder.path().join(format!("proc/{pid}/exe"));
        let _ = fs::remove_file(&exe);
        symlink(path, exe).unwrap();
    }

    pub(super) fn end(&self, pid: i32) {
        fs::remove_dir_all(self.folder.path().join(format!("proc/{pid}"))).unwrap();
    }

    /// Makes it the child of another process.
    pub(super) fn child(&self, pid: i32, parent: i32) {
        let stat = format!("{pid} (child) S {parent} {}{pid} 0\n", "0 ".repeat(17));
        self.file(pid, "stat", stat);
    }

    /// Puts all of these into a control group, and nobody else.
    pub(super) fn group(&self, name: &str, pids: &[i32]) {
        let group = self.path("cgroup").join(name);
        fs::create_dir_all(&group).unwrap();
        let list: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
        fs::write(group.join("cgroup.procs"), list).unwrap();
        for pid in pids {
            if self.path(&format!("proc/{pid}")).exists() {
                self.file(*pid, "cgroup", format!("0::/{name}\n"));
            }
        }
    }

    /// Lets whoever describes this process hang, until the returned file is written to.
    pub(super) fn hang(&self, pid: i32) -> Hanging {
        let stat = self.path(&format!("proc/{pid}/stat"));
        let text = fs::read(&stat).unwrap();
        fs::remove_file(&stat).unwrap();
        mkfifo(&stat, Mode::S_IRWXU).unwrap();
        Hanging { stat, text }
    }
}

/// A process whose `stat` is a pipe that nobody writes to yet.
pub(super) struct Hanging {
    stat: PathBuf,
    text: Vec<u8>,
}

impl Hanging {
    /// Answers those who hang, once. Later ones get a file as it should be.
    pub(super) fn answer(self) {
        let mut pipe = fs::OpenOptions::new().write(true).open(&self.stat).unwrap();
        fs::remove_file(&self.stat).unwrap();
        fs::write(&self.stat, &self.text).unwrap();
        pipe.write_all(&self.text).unwrap();
    }
}
