//! Threads for reads that may never end. Each user has a few of them, so that one who makes them hang takes them only from
//! himself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// How many threads there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For one user.
    pub(super) per_user: usize,
    /// In all. As many as one user may have are kept for root.
    pub(super) total: usize,
}

/// Reads things of the key `K` with the result `A`. Its threads end when there is nothing to do; those that hang are
/// left behind.
#[derive(Debug)]
pub(super) struct Readers<K, A> {
    shared: Arc<Shared<K, A>>,
}

#[derive(Debug)]
struct Shared<K, A> {
    state: Mutex<State<K, A>>,
    answered: Condvar,
}

#[derive(Debug)]
struct State<K, A> {
    limits: Limits,
    waiting: VecDeque<Job<K, A>>,
    /// How many reads each user has under way, where there are any.
    under_way: BTreeMap<u32, usize>,
    /// How many threads there are, those included that are about to take a job or to end.
    threads: usize,
    answers: Vec<(K, A)>,
}

struct Job<K, A> {
    key: K,
    user: u32,
    read: Box<dyn FnOnce() -> A + Send>,
}

impl<K: fmt::Debug, A> fmt::Debug for Job<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("key", &self.key)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl<K: Ord + Send + 'static, A: Send + 'static> Readers<K, A> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    limits,
                    waiting: VecDeque::new(),
                    under_way: BTreeMap::new(),
                    threads: 0,
                    answers: Vec::new(),
                }),
                answered: Condvar::new(),
            }),
        }
    }

    /// Starts a read on behalf of a user, or puts it into his queue.
    pub(super) fn ask(&self, key: K, user: u32, read: impl FnOnce() -> A + Send + 'static) {
        let mut state = self.shared.lock();
        state.waiting.push_back(Job {
            key,
            user,
            read: Box::new(read),
        });
        self.shared.hire(&mut state);
    }

    /// Whether reads of this user are under way or waiting.
    pub(super) fn is_busy_for(&self, user: u32) -> bool {
        let state = self.shared.lock();
        state.under_way.contains_key(&user) || state.waiting.iter().any(|job| job.user == user)
    }

    /// Drops the reads that have not begun and that nobody wants any more.
    pub(super) fn keep(&self, is_wanted: impl Fn(&K) -> bool) {
        self.shared.lock().waiting.retain(|job| is_wanted(&job.key));
    }

    /// The answers since the last time. Waits until all of `awaited` are there, but not longer than until the deadline.
    pub(super) fn answers(&self, awaited: &BTreeSet<K>, deadline: Instant) -> Vec<(K, A)> {
        let mut state = self.shared.lock();
        // There may have been no thread to have when this was asked for.
        self.shared.hire(&mut state);
        let is_all = |state: &State<K, A>| {
            let there = state.answers.iter().filter(|(key, _)| awaited.contains(key));
            there.count() >= awaited.len()
        };
        while !is_all(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self
                .shared
                .answered
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        std::mem::take(&mut state.answers)
    }
}

impl<K: Send + 'static, A: Send + 'static> Shared<K, A> {
    fn lock(&self) -> MutexGuard<'_, State<K, A>> {
        // Whoever panics while he holds the lock leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread more, if there is something for it to do.
    fn hire(self: &Arc<Self>, state: &mut State<K, A>) {
        if state.next().is_none() || state.threads >= state.limits.total {
            return;
        }
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().name("environ".to_owned());
        // Without a thread the next call tries again, if no other thread has taken the job by then.
        if thread.spawn(move || shared.work()).is_ok() {
            state.threads += 1;
        }
    }

    fn work(self: Arc<Self>) {
        let mut state = self.lock();
        while let Some(job) = state.take() {
            // This one may not come back.
            self.hire(&mut state);
            drop(state);
            let answer = (job.read)();
            state = self.lock();
            state.finish(job.user);
            state.answers.push((job.key, answer));
            self.answered.notify_all();
        }
        state.threads -= 1;
    }
}

impl<K, A> State<K, A> {
    /// Where the first job is that may start now.
    fn next(&self) -> Option<usize> {
        let per_user = self.limits.per_user;
        let under_way = |user| self.under_way.get(user).copied().unwrap_or_default();
        let others: usize = self
            .under_way
            .iter()
            .filter(|(user, _)| **user != 0)
            .map(|(_, count)| count)
            .sum();
        let is_room = others + per_user < self.limits.total;
        self.waiting
            .iter()
            .position(|job| under_way(&job.user) < per_user && (job.user == 0 || is_room))
    }

    fn take(&mut self) -> Option<Job<K, A>> {
        let job = self.waiting.remove(self.next()?)?;
        *self.under_way.entry(job.user).or_default() += 1;
        Some(job)
    }

    fn finish(&mut self, user: u32) {
        if let Some(count) = self.under_way.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::sync::mpsc::{self, Receiver, Sender};
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits {
        per_user: 2,
        total: 6,
    };
    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn reads_of_all_sizes_of_queues_are_answered() {
        let readers = Readers::new(LIMITS);
        let keys: BTreeSet<u32> = (0..500).collect();

        for key in &keys {
            readers.ask(*key, key % 5, move || ());
        }
        let answers = all(&readers, &keys);

        assert_eq!(answers, keys);
        assert!((0..5).all(|user| !readers.is_busy_for(user)));
    }

    #[test]
    fn a_user_whose_reads_hang_waits_and_the_others_do_not() {
        let readers = Readers::new(LIMITS);
        let _hanging: Vec<Sender<()>> = (0..5).map(|key| hang(&readers, key, 1000)).collect();

        readers.ask(10, 1000, || ());
        readers.ask(11, 1001, || ());
        readers.ask(12, 0, || ());

        assert_eq!(all(&readers, &[11, 12].into()), [11, 12].into());
        assert!(readers.is_busy_for(1000));
        assert!(readers.answers(&BTreeSet::new(), Instant::now()).is_empty());
    }

    #[test]
    fn when_a_hanging_read_ends_the_next_one_of_its_user_begins() {
        let readers = Readers::new(LIMITS);
        let mut hanging: Vec<Sender<()>> = (0..2).map(|key| hang(&readers, key, 1000)).collect();
        readers.ask(10, 1000, || ());

        hanging.pop();

        assert_eq!(all(&readers, &[1, 10].into()), [1, 10].into());
    }

    #[test]
    fn users_together_cannot_take_the_threads_of_root() {
        let readers = Readers::new(LIMITS);
        let _hanging: Vec<Sender<()>> = (0..20).map(|key| hang(&readers, key, 1000 + key)).collect();

        readers.ask(100, 0, || ());

        assert_eq!(all(&readers, &[100].into()), [100].into());
        let state = readers.shared.lock();
        assert!(state.threads <= LIMITS.total);
        assert!(state.under_way.len() <= LIMITS.total - LIMITS.per_user);
    }

    #[test]
    fn what_nobody_wants_any_more_is_not_begun() {
        let readers = Readers::new(LIMITS);
        let mut hanging: Vec<Sender<()>> = (0..2).map(|key| hang(&readers, key, 1000)).collect();
        readers.ask(10, 1000, || panic!("begun"));
        readers.ask(11, 1000, || ());

        readers.keep(|key| *key != 10);
        hanging.clear();

        assert_eq!(all(&readers, &[0, 1, 11].into()), [0, 1, 11].into());
        assert!(!readers.is_busy_for(1000));
    }

    #[test]
    fn nobody_waits_for_longer_than_he_said() {
        let readers = Readers::new(LIMITS);
        let _hanging = hang(&readers, 1, 1000);
        let start = Instant::now();

        let answers = readers.answers(&[1].into(), start + Duration::from_millis(30));

        assert!(answers.is_empty());
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    /// A read that ends when the other side of its channel does.
    fn hang(readers: &Readers<u32, ()>, key: u32, user: u32) -> Sender<()> {
        let (sender, receiver): (_, Receiver<()>) = mpsc::channel();
        readers.ask(key, user, move || assert!(receiver.recv().is_err()));
        sender
    }

    /// The answers up to the moment at which all of these are there.
    fn all(readers: &Readers<u32, ()>, keys: &BTreeSet<u32>) -> BTreeSet<u32> {
        let answers = readers.answers(keys, Instant::now() + SOON);
        answers.into_iter().map(|(key, ())| key).collect()
    }
}
