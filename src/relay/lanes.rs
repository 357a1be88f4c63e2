//! The threads that a relay runs on. A connection, or a UDP flow, lives on one of them from its first packet to its last, so
//! that nothing that happens to it wakes another thread; and they are nobody else's, so that a flood of clients holds up
//! none but clients.
//!
//! A listener belongs to one lane, which accepts its clients and keeps them while the lanes are about equally busy. Watched
//! from all lanes, it would wake all of them for each client, which was measured to be slower; one listener for each lane, at the
//! same port, is not to be had on Windows.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::{EnterGuard, Handle, Runtime};
use tokio_util::sync::CancellationToken;

/// The most lanes that [`Lanes::default`] has. What a LAN carries is done with fewer.
const MOST: usize = 4;
/// How many connections more than the least busy lane a lane has before it gives new ones away. Each that it gives away wakes
/// a thread, which costs short connections more than they gain.
const SLACK: usize = 8;
/// For how many connections a direction counts that carries bulk data: for so many that the next client goes to another lane, if
/// there is one without such. One processor for two of them would be half of what each could carry.
const BULK: usize = SLACK;

/// The relay's threads. They start with the first listener, sleep while nothing happens, and end with this: its drop returns
/// when every listener and every connection on them is closed. Listeners that come later are not taken on.
///
/// Its owner must not drop it on one of them, as in a [`Gate`](crate::Gate): that would wait for itself.
#[derive(Debug)]
pub struct Lanes {
    road: Arc<Road>,
}

/// What forwards have of the lanes: the way onto them, for as long as they are there.
#[derive(Debug)]
pub(crate) struct Road {
    count: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Unused,
    Running(Running),
    Over,
}

#[derive(Debug)]
struct Running {
    lanes: Arc<[Load]>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    /// How many listeners were given a lane.
    given: usize,
}

/// One lane, and how busy it is.
#[derive(Debug)]
struct Load {
    runtime: Handle,
    /// One for each connection, and [`BULK`] for each direction that carries bulk data.
    work: AtomicUsize,
}

/// One lane among its like.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    all: Arc<[Load]>,
    number: usize,
}

/// The place of one connection on a lane; free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat(Lane);

/// What bulk data add to the work of a lane, until dropped.
#[derive(Debug)]
pub(crate) struct Burden<'a>(&'a Load);

impl Default for Lanes {
    /// A lane for each processor of the machine, four at most.
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, |count| count.get().min(MOST)))
    }
}

impl Lanes {
    /// So many of them, but at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            road: Arc::new(Road {
                count: count.max(1),
                state: Mutex::new(State::Unused),
            }),
        }
    }

    pub(crate) fn road(&self) -> Arc<Road> {
        Arc::clone(&self.road)
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut *self.road.lock(), State::Over);
        if let State::Running(running) = state {
            running.end();
        }
    }
}

impl Road {
    /// The lane for one more listener, each in its turn.
    ///
    /// # Errors
    /// Those of the system when it has no threads or descriptors left; [`io::ErrorKind::NotConnected`] when the lanes are
    /// no more.
    pub(crate) fn lane(&self) -> io::Result<Lane> {
        let mut state = self.lock();
        if let State::Unused = *state {
            *state = State::Running(Running::start(self.count)?);
        }
        match &mut *state {
            State::Running(running) => Ok(running.next()),
            State::Unused | State::Over => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn start(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut threads = Vec::new();
        // Where one fails, those before it end as the runtime of each is stopped.
        let stop_on_failure = stop.clone().drop_guard();
        let lanes = (0..count)
            .map(|number| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_io()
                    .enable_time()
                    .build()?;
                let handle = runtime.handle().clone();
                threads.push(start_thread(number, runtime, stop.clone())?);
                Ok(Load {
                    runtime: handle,
                    work: AtomicUsize::new(0),
                })
            })
            .collect::<io::Result<_>>()?;
        stop_on_failure.disarm();
        Ok(Self {
            lanes,
            threads,
            stop,
            given: 0,
        })
    }

    fn next(&mut self) -> Lane {
        let number = self.given % self.lanes.len();
        self.given = self.given.wrapping_add(1);
        Lane {
            all: Arc::clone(&self.lanes),
            number,
        }
    }

    fn end(self) {
        self.stop.cancel();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the relay has failed; what it carried is closed");
            }
        }
    }
}

fn start_thread(number: usize, runtime: Runtime, stop: CancellationToken) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("relay-{number}"))
        .spawn(move || {
            runtime.block_on(stop.cancelled());
            // Here, and not on the thread that asked: what it has goes with it.
            drop(runtime);
        })
}

impl Lane {
    /// Has what the caller makes meanwhile watched by this lane.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.load().runtime.enter()
    }

    /// Runs `task` on this lane.
    pub(crate) fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.load().runtime.spawn(task)
    }

    /// A place for a connection that this lane has accepted: here, unless another lane has clearly less to do.
    pub(crate) fn seat(&self) -> Seat {
        let loads = self.all.iter().map(|load| load.work.load(Ordering::Relaxed));
        let least = loads.enumerate().min_by_key(|(_, work)| *work);
        let here = self.load().work.load(Ordering::Relaxed);
        let number = least
            .filter(|(_, work)| here >= work + SLACK)
            .map_or(self.number, |(number, _)| number);
        let lane = Self {
            all: Arc::clone(&self.all),
            number,
        };
        lane.load().work.fetch_add(1, Ordering::Relaxed);
        Seat(lane)
    }

    fn load(&self) -> &Load {
        &self.all[self.number]
    }
}

impl Seat {
    /// Where it is.
    pub(crate) fn lane(&self) -> &Lane {
        &self.0
    }

    /// To be kept while a direction of this connection carries bulk data.
    pub(crate) fn burden(&self) -> Burden<'_> {
        let load = self.0.load();
        load.work.fetch_add(BULK, Ordering::Relaxed);
        Burden(load)
    }

    /// Whether it is on that lane.
    pub(crate) fn is_on(&self, lane: &Lane) -> bool {
        self.0.number == lane.number
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.load().work.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Burden<'_> {
    fn drop(&mut self) {
        self.0.work.fetch_sub(BULK, Ordering::Relaxed);
    }
}
