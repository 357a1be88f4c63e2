//! One process, read below a handle to its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::dir::Dir;
use nix::fcntl::{openat, readlinkat};
use nix::sys::stat::{Mode, fstat};

use super::cgroup::Cgroup;
use super::meter::Meter;
use super::stat::Stat;
use super::{Description, FILE, FILE_LIMIT, FOLDER, Process, ROOM, is_gone, is_over, number, socket_inode};
use crate::labels::value;

/// `cgroup` has a line for each hierarchy of cgroup v1, of which there are about a dozen, and no line is longer than a path.
const CGROUP_LIMIT: u64 = 128 * 1024;

/// The links of one process that lead to wanted sockets, as in [`super::Holder::link`], by the sockets' inodes.
pub(super) type Links = BTreeMap<u64, String>;

/// A handle to `/proc/PID` that outlives neither the process nor its meaning.
#[derive(Debug)]
pub(in crate::labels) struct OpenProcess {
    pid: i32,
    folder: OwnedFd,
}

impl OpenProcess {
    /// Opens a process below this /proc; `None` when it is gone.
    pub(super) fn of(proc: &OwnedFd, pid: i32) -> Option<Self> {
        let folder = openat(proc, pid.to_string().as_str(), FOLDER, Mode::empty()).ok()?;
        Some(Self { pid, folder })
    }

    /// What is known of it; `None` when the process is gone.
    pub(in crate::labels) fn describe(&self) -> Option<Description> {
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
    pub(in crate::labels) fn start_time(&self) -> Option<u64> {
        Some(self.stat()?.start_time)
    }

    /// The program file, made safe to print.
    pub(in crate::labels) fn exe(&self) -> Option<String> {
        let path = readlinkat(&self.folder, "exe").ok()?;
        let path = path.as_bytes();
        Some(value(path.strip_suffix(b" (deleted)").unwrap_or(path)))
    }

    /// The effective user; `None` when the process is gone.
    pub(in crate::labels) fn uid(&self) -> Option<u32> {
        Some(fstat(&self.folder).ok()?.st_uid)
    }

    /// Opens a file of the process.
    ///
    /// # Errors
    /// When the process is gone, or we may not.
    pub(in crate::labels) fn open(&self, name: &str) -> io::Result<File> {
        Ok(File::from(openat(&self.folder, name, FILE, Mode::empty())?))
    }

    /// The PID of the process that forked it, or that inherited it since; 0 when there is none in this PID namespace. `None`
    /// when the process is gone.
    pub(super) fn parent(&self) -> Option<i32> {
        Some(self.stat()?.parent)
    }

    fn stat(&self) -> Option<Stat> {
        Stat::parse(&self.read("stat", FILE_LIMIT).ok()?)
    }

    /// The control group; that of a process that is gone, or of a kernel without control groups, tells nothing.
    ///
    /// # Errors
    /// When it cannot be told. Whoever may make control groups can make them too deep for the kernel to write down.
    fn cgroup(&self) -> io::Result<Cgroup> {
        match self.groups() {
            Ok(file) => Ok(Cgroup::parse(&file)),
            Err(error) if is_over(&error) => Ok(Cgroup::default()),
            Err(error) => Err(error),
        }
    }

    /// The text of `/proc/PID/cgroup`, cgroups(7).
    ///
    /// # Errors
    /// When it cannot be read, or is too long.
    pub(super) fn groups(&self) -> io::Result<Vec<u8>> {
        let file = self.read("cgroup", CGROUP_LIMIT)?;
        if file.len() as u64 == CGROUP_LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(file)
    }

    /// Whether the link still leads to this socket.
    pub(in crate::labels) fn holds(&self, link: &str, inode: u64) -> bool {
        readlinkat(&self.folder, link).is_ok_and(|target| socket_inode(target.as_bytes()) == Some(inode))
    }

    /// The first link to each wanted socket.
    ///
    /// # Errors
    /// When we may not look, or the process is gone.
    pub(super) fn links_to(&self, wanted: &BTreeSet<u64>, meter: &mut Meter) -> nix::Result<Links> {
        let mut links = Links::new();
        if self.links_below("fd", wanted, &mut links, meter)? > 0 || meter.is_exhausted() {
            return Ok(links);
        }
        // When the first thread has ended, /proc/PID/fd is empty while the other threads keep the files open.
        for thread in self.other_threads()? {
            let count = self.links_below(&format!("task/{thread}/fd"), wanted, &mut links, meter)?;
            if count > 0 || meter.is_exhausted() {
                break;
            }
        }
        Ok(links)
    }

    /// The first link of any thread but the first to each wanted socket.
    ///
    /// # Errors
    /// As for [`Self::links_to`].
    pub(super) fn links_of_threads(&self, wanted: &BTreeSet<u64>, meter: &mut Meter) -> nix::Result<Links> {
        let mut links = Links::new();
        for thread in self.other_threads()? {
            if meter.is_exhausted() {
                break;
            }
            match self.links_below(&format!("task/{thread}/fd"), wanted, &mut links, meter) {
                Ok(_) => {}
                Err(errno) if is_gone(errno) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(links)
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

    /// Adds the wanted links of one folder; how many of its descriptors were looked at. A descriptor that was closed in
    /// between is no error, one that we may not look at is. It ends when everything is found, or the meter is exhausted.
    fn links_below(
        &self,
        folder: &str,
        wanted: &BTreeSet<u64>,
        links: &mut Links,
        meter: &mut Meter,
    ) -> nix::Result<usize> {
        meter.process();
        let handle = openat(&self.folder, folder, FOLDER, Mode::empty())?;
        let mut count = 0;
        for entry in Dir::openat(&handle, ".", FOLDER, Mode::empty())?.iter().flatten() {
            let Some(fd) = number(entry.file_name()) else {
                continue;
            };
            if meter.is_exhausted() || links.len() == wanted.len() {
                break;
            }
            count += 1;
            meter.descriptor();
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
        let mut bytes = Vec::with_capacity(ROOM);
        self.open(name)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
