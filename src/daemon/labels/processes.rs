//! What /proc tells about processes and the sockets they hold.
//!
//! A process is opened once, as the folder `/proc/PID`, and everything is read below that handle: it keeps naming the
//! same process even when the PID is given to another one. Only `stat`, `comm`, `cgroup`, `exe` and the links below `fd`
//! are read here: none of them needs the process's memory or anything that it chose. The other files show secrets or can
//! hang (`environ`, `cmdline`; the former is [`super::environ`]'s), or lead out of our file system (`cwd`, `root`).

mod cgroup;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod stat;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, fstat};
use wslnet_console::text::clean;

use self::cgroup::Cgroup;
use self::stat::Stat;
use super::value;

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
const FILE: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC);

/// `stat` and `comm` are far smaller.
const FILE_LIMIT: u64 = 4096;
/// `cgroup` has a line for each hierarchy of cgroup v1, of which there are about a dozen, and no line is longer than a path.
const CGROUP_LIMIT: u64 = 128 * 1024;
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
    /// Changes when the process executes a program; see [`Stat::places`].
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

/// What one walk through /proc found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Every holder of every wanted socket inode.
    pub(super) holders: BTreeMap<u64, Vec<Holder>>,
    /// How many processes could not be looked into although they were there. Their sockets look foreign.
    pub(super) hidden: usize,
}

impl Walk {
    pub(super) fn holders_of(&self, inode: u64) -> Vec<Holder> {
        self.holders.get(&inode).cloned().unwrap_or_default()
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
}

impl Processes {
    /// # Errors
    /// When the folder cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            proc: nix::fcntl::open(path, FOLDER, Mode::empty())?,
        })
    }

    /// Looks through the file descriptors of all processes. The order of holders is that of the PIDs' appearance.
    ///
    /// # Errors
    /// When /proc itself cannot be listed. Processes that end, or that we may not look into, are skipped.
    pub(super) fn holders_of(&self, wanted: &BTreeSet<u64>) -> io::Result<Walk> {
        self.walk(|process, links| process.links_to(wanted, links))
    }

    /// Looks through the file descriptors of all threads but the first of each process. Nearly all threads share those
    /// of the first one, so this costs many times as much as [`Self::holders_of`] and nearly always finds nothing new:
    /// it is for sockets of threads that have descriptors of their own (CLONE_FILES undone by unshare).
    ///
    /// # Errors
    /// As for [`Self::holders_of`].
    pub(super) fn threads_that_hold(&self, wanted: &BTreeSet<u64>) -> io::Result<Walk> {
        self.walk(|process, links| process.links_of_threads(wanted, links))
    }

    fn walk(
        &self,
        look: impl Fn(&OpenProcess, &mut BTreeMap<u64, String>) -> nix::Result<()>,
    ) -> io::Result<Walk> {
        let mut walk = Walk::default();
        for entry in Dir::openat(&self.proc, ".", FOLDER, Mode::empty())? {
            let entry = entry?;
            let Some(pid) = number(entry.file_name()) else {
                continue;
            };
            let Some(open) = self.process(pid) else {
                continue;
            };
            let mut links = BTreeMap::new();
            if look(&open, &mut links).is_err_and(|errno| !is_gone(errno)) {
                walk.hidden += 1;
            }
            if links.is_empty() {
                continue;
            }
            let Some(description) = open.describe() else {
                continue;
            };
            // It may have started another program in between, one that does not get the socket.
            links.retain(|inode, link| open.holds(link, *inode));
            let description = Arc::new(description);
            for (inode, link) in links {
                let holder = Holder {
                    description: Arc::clone(&description),
                    link,
                };
                walk.holders.entry(inode).or_default().push(holder);
            }
        }
        Ok(walk)
    }

    /// Which process or thread came last: while it stays the same none has come. `None` where that is not told. It costs
    /// one short read.
    pub(super) fn births(&self) -> Option<Births> {
        let mut text = String::new();
        let file = File::from(openat(&self.proc, "loadavg", FILE, Mode::empty()).ok()?);
        file.take(FILE_LIMIT).read_to_string(&mut text).ok()?;
        Births::parse(&text)
    }

    /// Opens a process; `None` when it is gone.
    pub(super) fn process(&self, pid: i32) -> Option<OpenProcess> {
        let folder = openat(&self.proc, pid.to_string().as_str(), FOLDER, Mode::empty()).ok()?;
        Some(OpenProcess { pid, folder })
    }
}

/// A handle to `/proc/PID` that outlives neither the process nor its meaning.
#[derive(Debug)]
pub(super) struct OpenProcess {
    pid: i32,
    folder: OwnedFd,
}

impl OpenProcess {
    /// What is known of it; `None` when the process is gone.
    pub(super) fn describe(&self) -> Option<Description> {
        let stat = self.stat()?;
        let comm = self.read("comm", FILE_LIMIT).ok()?;
        let name = value(comm.strip_suffix(b"\n").unwrap_or(&comm));
        let exe = self.exe();
        // The owner of this folder, unlike that of what is in it, is always the process's effective user and group.
        let owner = fstat(&self.folder).ok()?;
        let (cgroup, trouble) = match self.cgroup() {
            Ok(cgroup) => (cgroup, None),
            Err(error) => (Cgroup::default(), Some(error)),
        };
        let process = Process {
            pid: self.pid,
            start_time: stat.start_time,
            name,
            exe,
            uid: owner.st_uid,
            gid: owner.st_gid,
            group: None,
            units: cgroup.units,
            slices: cgroup.slices,
            container: cgroup.container,
            says: None,
        };
        Some(Description {
            trouble: trouble.map(|error| {
                format!(
                    "the control group of process {} cannot be read: {error}",
                    process.title()
                )
            }),
            parent: stat.parent,
            places: stat.places,
            process,
        })
    }

    /// When the process started; `None` when it is gone.
    pub(super) fn start_time(&self) -> Option<u64> {
        Some(self.stat()?.start_time)
    }

    /// The program file, made safe to print.
    pub(super) fn exe(&self) -> Option<String> {
        let path = readlinkat(&self.folder, "exe").ok()?;
        let path = path.as_bytes();
        Some(value(path.strip_suffix(b" (deleted)").unwrap_or(path)))
    }

    /// The effective user; `None` when the process is gone.
    pub(super) fn uid(&self) -> Option<u32> {
        Some(fstat(&self.folder).ok()?.st_uid)
    }

    /// Opens a file of the process.
    ///
    /// # Errors
    /// When the process is gone, or we may not.
    pub(super) fn open(&self, name: &str) -> io::Result<File> {
        Ok(File::from(openat(&self.folder, name, FILE, Mode::empty())?))
    }

    fn stat(&self) -> Option<Stat> {
        Stat::parse(&self.read("stat", FILE_LIMIT).ok()?)
    }

    /// The control group; that of a process that is gone, or of a kernel without control groups, tells nothing.
    ///
    /// # Errors
    /// When it cannot be told. Whoever may make control groups can make them too deep for the kernel to write down.
    fn cgroup(&self) -> io::Result<Cgroup> {
        match self.read("cgroup", CGROUP_LIMIT) {
            Ok(file) if file.len() as u64 == CGROUP_LIMIT => Err(io::ErrorKind::FileTooLarge.into()),
            Ok(file) => Ok(Cgroup::parse(&file)),
            Err(error) if is_over(&error) => Ok(Cgroup::default()),
            Err(error) => Err(error),
        }
    }

    /// Whether the link still leads to this socket.
    pub(super) fn holds(&self, link: &str, inode: u64) -> bool {
        readlinkat(&self.folder, link).is_ok_and(|target| socket_inode(target.as_bytes()) == Some(inode))
    }

    /// Adds the first link to each wanted socket.
    fn links_to(&self, wanted: &BTreeSet<u64>, links: &mut BTreeMap<u64, String>) -> nix::Result<()> {
        if self.links_below("fd", wanted, links)? > 0 {
            return Ok(());
        }
        // When the first thread has ended, /proc/PID/fd is empty while the other threads keep the files open.
        for thread in self.other_threads()? {
            if self.links_below(&format!("task/{thread}/fd"), wanted, links)? > 0 {
                break;
            }
        }
        Ok(())
    }

    /// Adds the first link of any thread but the first to each wanted socket.
    fn links_of_threads(&self, wanted: &BTreeSet<u64>, links: &mut BTreeMap<u64, String>) -> nix::Result<()> {
        for thread in self.other_threads()? {
            match self.links_below(&format!("task/{thread}/fd"), wanted, links) {
                Ok(_) => {}
                Err(errno) if is_gone(errno) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn other_threads(&self) -> nix::Result<Vec<i32>> {
        let mut tasks = Dir::openat(&self.folder, "task", FOLDER, Mode::empty())?;
        Ok(tasks
            .iter()
            .flatten()
            .filter_map(|entry| number(entry.file_name()))
            .filter(|thread| *thread != self.pid)
            .collect())
    }

    /// Adds the wanted links of one folder; how many descriptors the folder has. A descriptor that was closed in
    /// between is no error, one that we may not look at is.
    fn links_below(
        &self,
        folder: &str,
        wanted: &BTreeSet<u64>,
        links: &mut BTreeMap<u64, String>,
    ) -> nix::Result<usize> {
        let handle = openat(&self.folder, folder, FOLDER, Mode::empty())?;
        let mut count = 0;
        for entry in Dir::openat(&handle, ".", FOLDER, Mode::empty())?.iter().flatten() {
            let Some(fd) = number(entry.file_name()) else {
                continue;
            };
            count += 1;
            let target = match readlinkat(&handle, entry.file_name()) {
                Ok(target) => target,
                Err(errno) if is_gone(errno) => continue,
                Err(errno) => return Err(errno),
            };
            if let Some(inode) = socket_inode(target.as_bytes()).filter(|inode| wanted.contains(inode)) {
                links.entry(inode).or_insert_with(|| format!("{folder}/{fd}"));
            }
        }
        Ok(count)
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(name)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
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
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::fs;
    use std::os::unix::fs::symlink;

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

    #[test]
    fn a_process_that_cannot_be_looked_into_is_counted_and_the_others_still_found() {
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("100");
        let open = folder.path().join("200");
        fs::create_dir_all(&closed).unwrap();
        fs::write(closed.join("fd"), "not a folder").unwrap();
        fs::create_dir_all(open.join("fd")).unwrap();
        fs::write(open.join("stat"), format!("200 (a) S {}7", "0 ".repeat(18))).unwrap();
        fs::write(open.join("comm"), "a\n").unwrap();
        symlink("socket:[5]", open.join("fd/3")).unwrap();

        let walk = Processes::open(folder.path())
            .unwrap()
            .holders_of(&BTreeSet::from([5]))
            .unwrap();

        assert_eq!(walk.hidden, 1);
        assert_eq!(walk.holders[&5][0].process().pid, 200);
        assert_eq!(walk.holders[&5][0].link, "fd/3");
    }
}
