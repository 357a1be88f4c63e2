//! What /proc tells about processes and the sockets they hold.
//!
//! A process is opened once, as the folder `/proc/PID`, and everything is read below that handle: it keeps naming the
//! same process even when the PID is given to another one. Only `stat`, `comm`, `cgroup`, `exe` and the links below `fd`
//! are read here: none of them needs the process's memory or anything that it chose. The other files show secrets or can
//! hang (`environ`, `cmdline`; the former is [`super::environ`]'s), or lead out of our file system (`cwd`, `root`).

mod census;
mod cgroup;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod kin;
mod meter;
mod open;
mod stat;
mod walk;

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use wslnet_console::text::clean;

pub(super) use self::census::Census;
pub(super) use self::open::OpenProcess;
pub(super) use self::walk::{Scope, THREADS_LIMIT, Walk};

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
const FILE: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC);

/// Where control groups are, of any version.
pub(super) const GROUPS: &str = "/sys/fs/cgroup";
/// `stat` and `comm` are far smaller.
const FILE_LIMIT: u64 = 4096;
/// Nearly every file of a process is read at once with so much room, in bytes.
const ROOM: usize = 512;
/// How much of a process's name is shown, in characters.
const NAME_CHARS: usize = 64;

/// One process of this distro. The default is a process of which nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Process id in this distro's PID namespace.
    pub pid: i32,
    /// When the process started, in clock ticks since the VM booted. Tells a process from a later one with its PID.
    pub start_time: u64,
    /// The name in `/proc/PID/comm`, made safe to print.
    pub name: String,
    /// The program file, made safe to print but not shortened. `None` where the process has none any more or we may not look.
    pub exe: Option<String>,
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The name of that group in `/etc/group`, made safe to print.
    pub group: Option<String>,
    /// The systemd units that its control group belongs to, made safe to print, the innermost first: a service of a user,
    /// then the service that is the user's manager. The inner ones are the user's own choice.
    pub units: Vec<String>,
    /// The systemd slices likewise.
    pub slices: Vec<String>,
    /// The id of the container (64 hexadecimal digits) whose control group it is in, as Docker and Podman name it.
    pub container: Option<String>,
    /// What it says of itself by `WSLNETD=` in its environment, made safe to print.
    pub says: Option<String>,
}

impl Process {
    /// The process as messages name it: `12 (node)`.
    pub(super) fn title(&self) -> String {
        format!("{} ({})", self.pid, clean(&self.name, NAME_CHARS))
    }
}

/// What is known of a process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// All but what needs other files: the group's name, and what the process says.
    pub(super) process: Process,
    /// The PID of its parent.
    pub(super) parent: i32,
    /// Changes when the process executes a program; see [`stat::Stat::places`].
    pub(super) places: Places,
    /// Why it is not known where the process belongs, for people.
    pub(super) trouble: Option<String>,
}

/// Where a process's program lies in memory.
pub(super) type Places = [u64; stat::PLACES];

/// A process that holds a socket, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// Shared by all sockets that it holds.
    pub(super) description: Arc<Description>,
    /// The link below `/proc/PID` that leads to the socket, for example `fd/7`.
    pub(super) link: String,
}

impl Holder {
    /// Whether it is not the process's first thread through which the socket was found.
    pub(super) fn is_by_thread(&self) -> bool {
        self.link.starts_with("task/")
    }

    /// The process, told from others for as long as the machine runs.
    pub(super) fn identity(&self) -> (i32, u64) {
        (self.process().pid, self.process().start_time)
    }

    /// What is known of it.
    pub(super) fn process(&self) -> &Process {
        &self.description.process
    }

    /// The file below `/proc/PID` with the environment. When the first thread has ended, only the others still have it.
    pub(super) fn environ(&self) -> String {
        match self.link.rsplit_once("/fd/") {
            Some((thread, _)) => format!("{thread}/environ"),
            None => "environ".to_owned(),
        }
    }
}

/// The number that was given last to a process or a thread of this PID namespace, or of one inside it: the last one in
/// `/proc/loadavg` (proc_loadavg(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Births(u32);

impl Births {
    fn parse(loadavg: &str) -> Option<Self> {
        Some(Self(loadavg.split_whitespace().nth(4)?.parse().ok()?))
    }
}

/// The processes below one /proc.
#[derive(Debug)]
pub(super) struct Processes {
    proc: OwnedFd,
    /// Where the control groups are.
    groups: PathBuf,
}

impl Processes {
    /// Those of this /proc, whose control groups are in that folder ([`GROUPS`]).
    ///
    /// # Errors
    /// When the former cannot be opened.
    pub(super) fn open(proc: &Path, groups: &Path) -> io::Result<Self> {
        Ok(Self {
            proc: nix::fcntl::open(proc, FOLDER, Mode::empty())?,
            groups: groups.to_owned(),
        })
    }

    /// Which process or thread came last: while it stays the same none has come. `None` where that is not told. It costs
    /// one short read.
    pub(super) fn births(&self) -> Option<Births> {
        let mut text = String::with_capacity(ROOM);
        let file = File::from(openat(&self.proc, "loadavg", FILE, Mode::empty()).ok()?);
        file.take(FILE_LIMIT).read_to_string(&mut text).ok()?;
        Births::parse(&text)
    }

    /// Opens a process; `None` when it is gone.
    pub(super) fn process(&self, pid: i32) -> Option<OpenProcess> {
        OpenProcess::of(&self.proc, pid)
    }
}

/// The process or descriptor ended while we looked.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ESRCH)
}

/// The same, of an error of the standard library.
pub(super) fn is_over(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|number| is_gone(Errno::from_raw(number)))
}

fn number(name: &CStr) -> Option<i32> {
    name.to_str().ok()?.parse().ok()
}

/// The number in `socket:[NUMBER]`.
fn socket_inode(target: &[u8]) -> Option<u64> {
    let number = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_inode_of_a_socket_link_only() {
        assert_eq!(socket_inode(b"socket:[4242]"), Some(4242));
        assert_eq!(socket_inode(b"/tmp/socket:[4242]"), None);
        assert_eq!(socket_inode(b"pipe:[4242]"), None);
        assert_eq!(socket_inode(b"socket:[]"), None);
    }

    #[test]
    fn the_process_that_came_last_is_the_last_number_of_loadavg() {
        assert_eq!(Births::parse("0.00 0.01 0.05 1/123 4567\n"), Some(Births(4567)));
        for odd in ["", "0.00 0.01 0.05 1/123", "0.00 0.01 0.05 1/123 x"] {
            assert_eq!(Births::parse(odd), None, "{odd}");
        }
    }
}
