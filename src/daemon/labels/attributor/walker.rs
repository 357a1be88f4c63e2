//! Looks into many processes by a thread of its own, so that a new listener does not have to wait for the end of it: with
//! many descriptors in the distro that is far off.
//!
//! There is one look at a time, and what it finds counts when it is complete. The thread stays from the first look on: a new one for each
//! would be news of a process, which is what makes us look.

use std::collections::BTreeSet;
use std::io;
use std::mem::{replace, take};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::labels::processes::{Census, Processes, Scope, THREADS_LIMIT, Walk};
use crate::listeners::Chime;

/// What to look for, and where.
#[derive(Debug)]
pub(super) struct Order {
    /// In which processes.
    pub(super) scope: Scope,
    /// The inodes of the sockets that are looked for,
    pub(super) wanted: BTreeSet<u64>,
    /// and of those that are looked for in all threads too, if no process holds them.
    pub(super) by_thread: BTreeSet<u64>,
    /// The moment for which it is made.
    pub(super) now: Instant,
}

/// What came of an order.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) order: Order,
    /// The processes.
    pub(super) processes: io::Result<Walk>,
    /// The threads, if they were looked into, and those of the sockets that were looked for there.
    pub(super) threads: Option<(BTreeSet<u64>, Walk)>,
    census: Census,
}

/// Carries out one order at a time.
#[derive(Debug)]
pub(super) struct Walker {
    processes: Arc<Processes>,
    /// Whom the last look has met. While there is one under way, that has it.
    census: Census,
    thread: Option<WalkerThread>,
    state: State,
    /// Rings at the end of each look.
    chime: Option<Arc<Chime>>,
}

#[derive(Debug)]
enum State {
    Idle,
    UnderWay,
    Done(Box<Done>),
}

/// The thread, which ends when this is dropped, and with its look.
#[derive(Debug)]
struct WalkerThread {
    jobs: Sender<Job>,
    results: Receiver<Done>,
    /// How many jobs it was given,
    given: u64,
    /// and how many have come to their end. The end of one may be counted after the next was given.
    over: Arc<AtomicU64>,
    handle: JoinHandle<()>,
}

#[derive(Debug)]
struct Job {
    order: Order,
    census: Census,
    chime: Option<Arc<Chime>>,
}

/// Tells that a job is over, however it ends.
struct Finishing<'a>(&'a AtomicU64, Option<Arc<Chime>>);

impl Drop for Finishing<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
        if let Some(chime) = &self.1 {
            chime.ring();
        }
    }
}

impl WalkerThread {
    fn start(processes: Arc<Processes>) -> io::Result<Self> {
        let (jobs, orders) = mpsc::channel::<Job>();
        let (done, results) = mpsc::channel();
        let over = Arc::new(AtomicU64::new(0));
        let hers = Arc::clone(&over);
        let work = move || {
            for job in orders {
                let _finishing = Finishing(&hers, job.chime);
                // Nobody waits for it any more when the daemon ends.
                let _is_taken = done.send(look(&processes, job.order, job.census));
            }
        };
        let handle = thread::Builder::new().name("walker".to_owned()).spawn(work)?;
        Ok(Self {
            jobs,
            results,
            given: 0,
            over,
            handle,
        })
    }
}

impl Walker {
    pub(super) fn new(processes: Arc<Processes>) -> Self {
        Self {
            processes,
            census: Census::default(),
            thread: None,
            state: State::Idle,
            chime: None,
        }
    }

    /// From now on the end of each look is told by this.
    pub(super) fn ring(&mut self, chime: Chime) {
        self.chime = Some(Arc::new(chime));
    }

    /// Whether an order is being carried out, or was and is not taken yet.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Whether there is something to take.
    pub(super) fn is_done(&self) -> bool {
        match &self.state {
            State::Idle => false,
            State::UnderWay => self
                .thread
                .as_ref()
                .is_some_and(|thread| thread.over.load(Ordering::Acquire) == thread.given),
            State::Done(_) => true,
        }
    }

    /// Whether some process is so new that another look at it is worth while.
    pub(super) fn has_new(&self) -> bool {
        self.census.has_new()
    }

    /// Begins to carry it out, while nothing else is under way.
    pub(super) fn begin(&mut self, order: Order) {
        let job = Job {
            order,
            census: take(&mut self.census),
            chime: self.chime.clone(),
        };
        if self.thread.is_none() {
            self.thread = WalkerThread::start(Arc::clone(&self.processes)).ok();
        }
        let refused = match &mut self.thread {
            Some(thread) => {
                thread.given += 1;
                thread.jobs.send(job).err().map(|refused| refused.0)
            }
            None => Some(job),
        };
        self.state = match refused {
            None => State::UnderWay,
            // There are no threads left. Late is better than never.
            Some(job) => State::Done(Box::new(look(&self.processes, job.order, job.census))),
        };
    }

    /// What came of the order, if it is carried out within `patience`.
    pub(super) fn take(&mut self, patience: Duration) -> Option<Done> {
        let mut done = match replace(&mut self.state, State::Idle) {
            State::Idle => return None,
            State::UnderWay => self.wait(patience)?,
            State::Done(done) => *done,
        };
        self.census = take(&mut done.census);
        Some(done)
    }

    fn wait(&mut self, patience: Duration) -> Option<Done> {
        match self.thread.as_ref()?.results.recv_timeout(patience) {
            Ok(done) => return Some(done),
            Err(RecvTimeoutError::Timeout) => self.state = State::UnderWay,
            // A defect there is one here: the watch over this thread has to see it.
            Err(RecvTimeoutError::Disconnected) => {
                if let Some(Err(defect)) = self.thread.take().map(|thread| thread.handle.join()) {
                    resume_unwind(defect);
                }
            }
        }
        None
    }
}

fn look(processes: &Processes, order: Order, mut census: Census) -> Done {
    let found = processes.holders_of(&order.wanted, &order.scope, &mut census, order.now);
    let threads = found.as_ref().ok().and_then(|walk| {
        let is_unclaimed = |inode: &&u64| !walk.holders.contains_key(*inode);
        let unclaimed: BTreeSet<u64> = order.by_thread.iter().filter(is_unclaimed).copied().collect();
        // The walk before this one has told of its troubles already.
        let walk = (!unclaimed.is_empty())
            .then(|| processes.threads_that_hold(&unclaimed, THREADS_LIMIT).ok())??;
        Some((unclaimed, walk))
    });
    Done {
        order,
        processes: found,
        threads,
        census,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::path::Path;

    use super::*;
    use crate::labels::processes::GROUPS;

    /// The kernel tells of threads as of processes, and each would make us look again.
    #[test]
    fn one_look_after_the_other_takes_no_new_thread() {
        let processes = Processes::open(Path::new("/proc"), Path::new(GROUPS)).unwrap();
        let mut walker = Walker::new(Arc::new(processes));
        let threads = [Scope::All, Scope::New(BTreeSet::new()), Scope::All].map(|scope| {
            walker.begin(Order {
                scope,
                wanted: BTreeSet::from([1]),
                by_thread: BTreeSet::new(),
                now: Instant::now(),
            });
            walker.take(Duration::from_secs(60)).unwrap();
            walker.thread.as_ref().unwrap().handle.thread().id()
        });
        assert_eq!(threads, [threads[0]; 3]);
    }

    /// The observer would turn without a pause, if it took the one for the other.
    #[test]
    fn the_late_end_of_one_look_is_not_that_of_the_next() {
        let (jobs, _orders) = mpsc::channel();
        let (_done, results) = mpsc::channel();
        let over = Arc::new(AtomicU64::new(0));
        let processes = Processes::open(Path::new("/proc"), Path::new(GROUPS)).unwrap();
        let mut walker = Walker::new(Arc::new(processes));
        walker.thread = Some(WalkerThread {
            jobs,
            results,
            given: 1,
            over: Arc::clone(&over),
            handle: thread::spawn(|| {}),
        });
        walker.begin(Order {
            scope: Scope::All,
            wanted: BTreeSet::new(),
            by_thread: BTreeSet::new(),
            now: Instant::now(),
        });

        drop(Finishing(&over, None));
        assert!(!walker.is_done());
        drop(Finishing(&over, None));
        assert!(walker.is_done());
    }
}
