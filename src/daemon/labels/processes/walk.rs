//! Looks into processes for sockets: into all of them, into the new ones, and into those that are near to one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::sys::stat::Mode;

use super::census::Census;
use super::meter::Meter;
use super::open::{Links, OpenProcess};
use super::{FOLDER, Holder, Processes, is_gone, number};

/// No limit of steps.
const EVERYTHING: u64 = u64::MAX;
/// How many steps the looks at those who are near may take in all: about 12 ms. They are in the way of the next listener.
const NEAR_LIMIT: u64 = 4096;
/// How many steps a look into the threads may take: about 6 s, in which nothing else is looked for.
pub(in crate::labels) const THREADS_LIMIT: u64 = 1 << 21;
/// How many steps the second look at a process that was new may take: some 200 descriptors. Who has more by then is a server with
/// connections, and is looked at again with all others.
const GROWN_LIMIT: u64 = 256;

/// Which processes are looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::labels) enum Scope {
    /// All of them.
    All,
    /// Those that have come since the last look, and these.
    New(BTreeSet<i32>),
}

/// What a look found.
#[derive(Debug, Default)]
pub(in crate::labels) struct Walk {
    /// Every holder of every wanted socket inode.
    pub(in crate::labels) holders: BTreeMap<u64, Vec<Holder>>,
    /// How many processes could not be looked into although they were there. Their sockets look foreign.
    pub(in crate::labels) hidden: usize,
    /// About how much of a processor it took.
    pub(in crate::labels) cost: Duration,
}

impl Walk {
    /// The holders of one socket.
    pub(in crate::labels) fn holders_of(&self, inode: u64) -> Vec<Holder> {
        self.holders.get(&inode).cloned().unwrap_or_default()
    }

    /// Looks into one process. One that ends meanwhile is left out.
    fn look(
        &mut self,
        process: &OpenProcess,
        meter: &mut Meter,
        links: impl FnOnce(&OpenProcess, &mut Meter) -> nix::Result<Links>,
    ) {
        let mut links = match links(process, meter) {
            Ok(links) => links,
            Err(errno) => {
                self.hidden += usize::from(!is_gone(errno));
                return;
            }
        };
        if links.is_empty() {
            return;
        }
        let Some(description) = process.describe() else {
            return;
        };
        // It may have started another program in between, one that does not get the socket.
        links.retain(|inode, link| process.holds(link, *inode));
        let description = Arc::new(description);
        for (inode, link) in links {
            let description = Arc::clone(&description);
            let holders = self.holders.entry(inode).or_default();
            holders.push(Holder { description, link });
        }
    }
}

impl Processes {
    /// Looks through the file descriptors of all processes, or of the new ones. The order of holders is that of the PIDs.
    ///
    /// # Errors
    /// When /proc itself cannot be listed. Processes that end, or that we may not look into, are skipped.
    pub(in crate::labels) fn holders_of(
        &self,
        wanted: &BTreeSet<u64>,
        scope: &Scope,
        census: &mut Census,
        now: Instant,
    ) -> io::Result<Walk> {
        let listing = self.listing()?;
        let new = census.update(&listing, now);
        let whole = |pid: &i32| match scope {
            Scope::All => true,
            Scope::New(others) => new.unseen.contains(pid) || others.contains(pid),
        };
        let mut walk = Walk::default();
        for pid in listing.into_iter().map(|(pid, _)| pid) {
            if wanted.is_empty() {
                break;
            }
            let limit = if whole(&pid) {
                EVERYTHING
            } else if new.grown.contains(&pid) {
                GROWN_LIMIT
            } else {
                continue;
            };
            let mut meter = Meter::up_to(limit);
            self.look_at(pid, wanted, &mut meter, &mut walk);
            walk.cost += meter.cost();
        }
        Ok(walk)
    }

    /// Looks through the file descriptors of all threads but the first of each process. Nearly all threads share those
    /// of the first one, so this costs many times as much as [`Self::holders_of`] and nearly always finds nothing new:
    /// it is for sockets of threads that have descriptors of their own (CLONE_FILES undone by unshare). And as each thread shows
    /// all of its process's, it ends after so many steps, and has then found nobody: who is missing may want a socket to stay private.
    ///
    /// # Errors
    /// As for [`Self::holders_of`].
    pub(in crate::labels) fn threads_that_hold(
        &self,
        wanted: &BTreeSet<u64>,
        limit: u64,
    ) -> io::Result<Walk> {
        let mut meter = Meter::up_to(limit);
        let mut walk = Walk::default();
        for (pid, _) in self.listing()? {
            if meter.is_exhausted() {
                break;
            }
            if let Some(process) = self.process(pid) {
                walk.look(&process, &mut meter, |process, meter| {
                    process.links_of_threads(wanted, meter)
                });
            }
        }
        if meter.is_exhausted() {
            walk.holders.clear();
        }
        walk.cost = meter.cost();
        Ok(walk)
    }

    /// Looks for sockets at the processes that may have made them listen, and at all that are near to these
    /// ([`Processes::kin`]). Only sockets that such a process itself holds are found; of these, all holders that are near to it.
    /// Those whose company is too large to be looked at quickly are left out. Into whom we may not look is not found here either.
    pub(in crate::labels) fn holders_near(&self, makers: &[i32], wanted: &BTreeSet<u64>) -> Walk {
        let mut meter = Meter::up_to(NEAR_LIMIT);
        let mut found = Walk::default();
        let mut wanted = wanted.clone();
        for maker in makers {
            if wanted.is_empty() || meter.is_exhausted() {
                break;
            }
            let mut walk = Walk::default();
            self.look_at(*maker, &wanted, &mut meter, &mut walk);
            let held: BTreeSet<u64> = walk.holders.keys().copied().collect();
            if held.is_empty() {
                continue;
            }
            let Some(kin) = self.kin(*maker) else {
                continue;
            };
            for pid in kin.iter().filter(|pid| *pid != maker) {
                self.look_at(*pid, &held, &mut meter, &mut walk);
            }
            // What could not be looked at may hold it, too.
            if meter.is_exhausted() {
                break;
            }
            wanted.retain(|inode| !held.contains(inode));
            found.holders.extend(walk.holders);
        }
        found.cost = meter.cost();
        found
    }

    fn look_at(&self, pid: i32, wanted: &BTreeSet<u64>, meter: &mut Meter, walk: &mut Walk) {
        if let Some(process) = self.process(pid) {
            walk.look(&process, meter, |process, meter| process.links_to(wanted, meter));
        }
    }

    /// The processes that there are, with the inode numbers of their folders.
    fn listing(&self) -> io::Result<Vec<(i32, u64)>> {
        let mut listing = Vec::new();
        for entry in Dir::openat(&self.proc, ".", FOLDER, Mode::empty())? {
            let entry = entry?;
            listing.extend(number(entry.file_name()).map(|pid| (pid, entry.ino())));
        }
        Ok(listing)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

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

        let walk = Processes::open(folder.path(), folder.path())
            .unwrap()
            .holders_of(
                &BTreeSet::from([5]),
                &Scope::All,
                &mut Census::default(),
                Instant::now(),
            )
            .unwrap();

        assert_eq!(walk.hidden, 1);
        assert_eq!(walk.holders[&5][0].process().pid, 200);
        assert_eq!(walk.holders[&5][0].link, "fd/3");
    }
}
