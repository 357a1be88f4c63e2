//! Looks into many processes by a thread of its own, so that a new listener does not have to wait for the end of it: with
//! many descriptors in the distro that is far off.
//!
//! There is one look at a time, and what it finds counts when it is complete. The thread ends with it.

use std::collections::BTreeSet;
use std::io;
use std::mem::{replace, take};
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    state: State,
    /// Rings at the end of each look.
    chime: Option<Arc<Chime>>,
}

#[derive(Debug)]
enum State {
    Idle,
    UnderWay(Arc<Finish>, JoinHandle<Option<Done>>),
    Done(Box<Done>),
}

/// Tells that a thread has come to its end, or as good as.
#[derive(Debug, Default)]
struct Finish {
    is_over: Mutex<bool>,
    over: Condvar,
}

impl Finish {
    fn is_over(&self) -> MutexGuard<'_, bool> {
        self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells it however the thread ends.
struct Finishing(Arc<Finish>, Option<Arc<Chime>>);

impl Drop for Finishing {
    fn drop(&mut self) {
        *self.0.is_over() = true;
        self.0.over.notify_all();
        if let Some(chime) = &self.1 {
            chime.ring();
        }
    }
}

impl Walker {
    pub(super) fn new(processes: Arc<Processes>) -> Self {
        Self {
            processes,
            census: Census::default(),
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
            State::UnderWay(finish, _) => *finish.is_over(),
            State::Done(_) => true,
        }
    }

    /// Whether some process is so new that another look at it is worth while.
    pub(super) fn has_new(&self) -> bool {
        self.census.has_new()
    }

    /// Begins to carry it out, while nothing else is under way.
    pub(super) fn begin(&mut self, order: Order) {
        let job = Arc::new(Mutex::new(Some((order, take(&mut self.census)))));
        let finish = Arc::new(Finish::default());
        let end = Finishing(Arc::clone(&finish), self.chime.clone());
        let (processes, hers) = (Arc::clone(&self.processes), Arc::clone(&job));
        let work = move || {
            let _end = end;
            carry_out(&processes, &hers)
        };
        let thread = thread::Builder::new().name("walker".to_owned());
        self.state = match thread.spawn(work) {
            Ok(thread) => State::UnderWay(finish, thread),
            // Late is better than never.
            Err(_) => {
                carry_out(&self.processes, &job).map_or(State::Idle, |done| State::Done(Box::new(done)))
            }
        };
    }

    /// What came of the order, if it is carried out within `patience`.
    pub(super) fn take(&mut self, patience: Duration) -> Option<Done> {
        if let State::UnderWay(finish, _) = &self.state {
            let is_over = finish.is_over();
            let waited = finish
                .over
                .wait_timeout_while(is_over, patience, |is_over| !*is_over);
            if !*waited.unwrap_or_else(PoisonError::into_inner).0 {
                return None;
            }
        }
        let mut done = match replace(&mut self.state, State::Idle) {
            State::Idle => return None,
            State::UnderWay(_, thread) => match thread.join() {
                Ok(done) => done?,
                // A defect there is one here: the watch over this thread has to see it.
                Err(defect) => resume_unwind(defect),
            },
            State::Done(done) => *done,
        };
        self.census = take(&mut done.census);
        Some(done)
    }
}

type Job = Mutex<Option<(Order, Census)>>;

/// Carries out what is in there, if nobody else has done so.
fn carry_out(processes: &Processes, job: &Job) -> Option<Done> {
    let job = job.lock().unwrap_or_else(PoisonError::into_inner).take();
    job.map(|(order, census)| look(processes, order, census))
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
