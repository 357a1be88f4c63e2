//! Which processes were looked into, so that the next look can be for the new ones alone.
//!
//! A process is told from all others by the inode number of its folder in /proc, which the listing gives with its PID, so that
//! nothing has to be read of any process that is known. procfs makes the inode when somebody first looks at the process, with
//! the next number of one counter of the kernel (`proc_pid_make_inode()` of fs/proc/base.c, `get_next_ino()` of fs/inode.c), and drops it when
//! the process ends (`proc_flush_pid()`). So the next process of that PID has another one; a process that executes
//! another program keeps its own. Tried on Linux 6.18: of 187 PIDs that were used again none had the same number.
//!
//! Two things are odd about it, and harmless. When the kernel is short of memory, or told to drop its caches, it drops these inodes
//! too: then everybody looks new and is looked into once more. And between the moment at which a PID can be given again and that at which the
//! inode is dropped, a new process could be seen with the number of the old one: the listing after that shows its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// For how long a process counts as new. It is looked into when it is seen first, and once more, quickly, at this age: what it gets
/// from another process (SCM_RIGHTS, pidfd_getfd(2)) it gets after its start, and most likely soon.
const GROWN: Duration = Duration::from_secs(5);

/// The processes that were there at the last look.
#[derive(Debug, Default)]
pub(in crate::labels) struct Census {
    residents: BTreeMap<i32, Resident>,
}

#[derive(Clone, Copy, Debug)]
struct Resident {
    /// The number of `/proc/PID`.
    inode: u64,
    /// When it was first seen; `None` when it was looked into at that age at which it counts as new no more.
    new_since: Option<Instant>,
}

/// Who is to be looked into because he is new.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Newcomers {
    /// Those who were never seen before.
    pub(super) unseen: BTreeSet<i32>,
    /// Those who count as new no more from now on.
    pub(super) grown: BTreeSet<i32>,
}

impl Census {
    /// Takes over a listing of /proc, PIDs and inode numbers; who of these is new.
    pub(super) fn update(&mut self, listing: &[(i32, u64)], now: Instant) -> Newcomers {
        let is_first = self.residents.is_empty();
        let before = std::mem::take(&mut self.residents);
        let mut new = Newcomers::default();
        for (pid, inode) in listing {
            let known = before.get(pid).filter(|resident| resident.inode == *inode);
            let new_since = match known.map(|resident| resident.new_since) {
                None => {
                    new.unseen.insert(*pid);
                    // At first nothing tells who is new.
                    (!is_first).then_some(now)
                }
                Some(Some(since)) if now.saturating_duration_since(since) >= GROWN => {
                    new.grown.insert(*pid);
                    None
                }
                Some(new_since) => new_since,
            };
            let inode = *inode;
            self.residents.insert(*pid, Resident { inode, new_since });
        }
        new
    }

    /// Whether somebody still counts as new, so that the next look is not for nothing.
    pub(in crate::labels) fn has_new(&self) -> bool {
        self.residents
            .values()
            .any(|resident| resident.new_since.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_new_is_looked_into_twice_and_who_is_known_is_not() {
        let start = Instant::now();
        let mut census = Census::default();
        let mut new = |listing: &[(i32, u64)], seconds| {
            let new = census.update(listing, start + Duration::from_secs(seconds));
            let lists = (Vec::from_iter(new.unseen), Vec::from_iter(new.grown));
            (lists.0, lists.1, census.has_new())
        };
        let (two, three) = ([(1, 10), (2, 20)], [(1, 10), (2, 20), (3, 30)]);

        assert_eq!(new(&two, 0), (vec![1, 2], vec![], false));
        assert_eq!(new(&two, 1), (vec![], vec![], false));
        assert_eq!(new(&three, 2), (vec![3], vec![], true));
        assert_eq!(new(&three, 6), (vec![], vec![], true));
        assert_eq!(new(&three, 7), (vec![], vec![3], false));
        assert_eq!(new(&three, 60), (vec![], vec![], false));
    }

    #[test]
    fn another_process_with_the_same_pid_is_new() {
        let start = Instant::now();
        let mut census = Census::default();
        census.update(&[(1, 10), (2, 20)], start);

        let mut unseen = |listing: &[(i32, u64)]| Vec::from_iter(census.update(listing, start).unseen);
        assert_eq!(unseen(&[(1, 10), (2, 21)]), [2]);
        assert!(unseen(&[(1, 10)]).is_empty());
        assert_eq!(unseen(&[(1, 10), (2, 20)]), [2]);
    }
}
