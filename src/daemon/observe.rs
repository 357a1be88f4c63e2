//! The observer: a thread that keeps an up-to-date picture of the listeners and their owners.
//!
//! It sleeps until something may have changed, scans, attributes, and publishes the whole picture when it differs from the last one. What
//! should happen to a listener is decided elsewhere. It has a thread of its own because reading /proc blocks, and
//! because the watchdog wants to know whether this very loop still turns.

mod attributed;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::attributed::that_matter;
pub(crate) use self::attributed::{Attributed, listeners};
use crate::labels::{Attributor, Labels, Owner};
use crate::listeners::{
    Bell, OpenError, Ringer, Scanner, Socket, Source, SourceChoice, UdpInterest, Wake, WakeUp, WakeUpView,
    bell,
};

/// Pauses after failed scans; the last one repeats.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// One listening socket with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The socket as the kernel reports it.
    pub socket: Socket,
    /// Who holds it; `None` when nobody in this distro does.
    pub owner: Option<Arc<Owner>>,
    /// Whether `owner` can be relied on. Otherwise it is still being looked for, and who it is may want the port to stay private.
    pub is_decided: bool,
    /// The facts for the policy.
    pub labels: Labels,
    /// When it was first seen with an owner that can be relied on, and before that, when it was first seen.
    pub since: Instant,
}

/// The listeners of one scan.
#[derive(Clone, Debug)]
pub struct Observation {
    /// All listeners of the network namespace, foreign ones too, sorted by protocol, address and identity. Those about which nothing
    /// is new are the very same values as in the observation before. One whose owner is not known yet is among them if it shares its
    /// port with another one, which a dial that meant that one could meet.
    pub listeners: Vec<Arc<Listener>>,
    /// Where the sockets were read from.
    pub source: Source,
    /// How it is learnt that there is something new.
    pub wake_up: WakeUpView,
    /// When the scan was made that first saw this picture.
    pub at: Instant,
    /// How many scans had succeeded by then, this one included.
    pub scans: u64,
}

/// What the observer publishes.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The last good picture. `None` until a scan has succeeded: nothing is known yet, which is not "no listeners".
    pub last: Option<Arc<Observation>>,
    /// Why scans fail at the moment; the picture is as old as its `at` says or older.
    pub trouble: Option<String>,
}

/// The observer could not start.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// No source of listeners works.
    #[error("cannot watch for listeners")]
    Source(#[from] OpenError),
    /// /proc is missing or closed to us.
    #[error("cannot open /proc")]
    Proc(#[source] io::Error),
    /// Nothing to wake the thread up with.
    #[error("cannot make what wakes up the watch for listeners")]
    Bell(#[source] io::Error),
    /// No thread.
    #[error("cannot start the thread that watches for listeners")]
    Thread(#[source] io::Error),
}

/// A running observer. Dropping it stops it.
#[derive(Debug)]
pub struct Observer {
    ringer: Option<Ringer>,
    observed: watch::Receiver<Observed>,
    /// What to look by from the next scan on, if not as before.
    next_eyes: Arc<Mutex<Option<Eyes>>>,
    pulse: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Opens the source and starts the thread. `udp` says which UDP sockets count as listeners.
    ///
    /// # Errors
    /// When there is no source, no /proc or no thread.
    pub fn start(choice: SourceChoice, udp: UdpInterest, wake_up: WakeUp) -> Result<Self, ObserveError> {
        Self::start_with(Eyes::open(choice, udp)?, wake_up)
    }

    /// Looks by another source, or for other UDP sockets, from now on. What is known of listeners and their
    /// owners stays: forgotten for a moment, they would have to be closed for that moment.
    ///
    /// # Errors
    /// When there is no source; then nothing changes.
    pub fn look_by(&self, choice: SourceChoice, udp: UdpInterest) -> Result<(), ObserveError> {
        let eyes = Eyes::open(choice, udp)?;
        *self.next_eyes.lock().unwrap_or_else(PoisonError::into_inner) = Some(eyes);
        if let Some(ringer) = &self.ringer {
            ringer.ring();
        }
        Ok(())
    }

    fn start_with(eyes: Eyes, wake_up: WakeUp) -> Result<Self, ObserveError> {
        let (mut watch, ringer) = Loop::new(eyes, wake_up)?;
        let (observed, next_eyes) = (watch.sender.subscribe(), Arc::clone(&watch.next_eyes));
        let pulse = Arc::clone(&watch.pulse);
        let thread = thread::Builder::new()
            .name("observer".to_owned())
            .spawn(move || watch.run())
            .map_err(ObserveError::Thread)?;
        Ok(Self {
            ringer: Some(ringer),
            observed,
            next_eyes,
            pulse,
            thread: Some(thread),
        })
    }

    /// The latest picture. The channel closes when the observer ends.
    pub fn observed(&self) -> watch::Receiver<Observed> {
        self.observed.clone()
    }

    /// How many rounds the loop has finished, failed scans included. For the watchdog: a number that stands still means
    /// that the loop hangs; why scans fail is in [`Observed::trouble`].
    pub fn pulse(&self) -> u64 {
        self.pulse.load(Ordering::Relaxed)
    }

    /// Whether the thread still runs. It ends only when it is stopped, or by a defect.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops the loop and waits for its end, which is at most one scan away.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.ringer = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that watches for listeners had crashed");
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.end();
    }
}

/// A source of sockets; tests bring their own.
trait Scan: Send + std::fmt::Debug {
    /// See [`Scanner::scan_into`].
    fn scan_into(&mut self, sockets: &mut Vec<Socket>) -> io::Result<()>;
}

impl Scan for Scanner {
    fn scan_into(&mut self, sockets: &mut Vec<Socket>) -> io::Result<()> {
        Self::scan_into(self, sockets)
    }
}

#[derive(Debug)]
struct Eyes {
    scanner: Box<dyn Scan>,
    source: Source,
    /// Whether it looks for UDP sockets, too.
    has_udp: bool,
}

impl Eyes {
    fn open(choice: SourceChoice, udp: UdpInterest) -> Result<Self, OpenError> {
        let has_udp = !udp.is_none();
        let scanner = Scanner::open(choice, udp)?;
        let source = scanner.source_in_use();
        Ok(Self {
            scanner: Box::new(scanner),
            source,
            has_udp,
        })
    }
}

/// The state of the thread.
#[derive(Debug)]
struct Loop {
    eyes: Eyes,
    next_eyes: Arc<Mutex<Option<Eyes>>>,
    attributor: Attributor,
    wake_up: WakeUp,
    bell: Bell,
    sender: watch::Sender<Observed>,
    pulse: Arc<AtomicU64>,
    scans: u64,
    failures: usize,
    /// The sockets of the present scan. It keeps its room.
    sockets: Vec<Socket>,
    /// When there may be more to tell of the owners of those that were published last, unless processes change.
    due: Due,
}

/// When owners are to be looked at again though the sockets are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// With the next scan, whatever it shows.
    AtOnce,
    /// At this moment; `None` is never.
    At(Option<Instant>),
}

impl Due {
    fn is_over(self, now: Instant) -> bool {
        match self {
            Self::AtOnce => true,
            Self::At(due) => due.is_some_and(|due| due <= now),
        }
    }
}

impl Loop {
    fn new(eyes: Eyes, mut wake_up: WakeUp) -> Result<(Self, Ringer), ObserveError> {
        let mut attributor = Attributor::new().map_err(ObserveError::Proc)?;
        let (ringer, bell) = bell().map_err(ObserveError::Bell)?;
        attributor.ring(bell.chime());
        wake_up.look_for_udp(eyes.has_udp);
        let watch = Self {
            eyes,
            next_eyes: Arc::default(),
            attributor,
            wake_up,
            bell,
            sender: watch::Sender::default(),
            pulse: Arc::default(),
            scans: 0,
            failures: 0,
            sockets: Vec::new(),
            due: Due::AtOnce,
        };
        Ok((watch, ringer))
    }

    fn run(&mut self) {
        loop {
            self.look();
            self.pulse.fetch_add(1, Ordering::Relaxed);
            let wake = match self.failures.checked_sub(1) {
                None => self.sleep(),
                Some(earlier) => {
                    let pause = PAUSES.get(earlier).or(PAUSES.last()).copied().unwrap_or_default();
                    self.bell.wait(pause)
                }
            };
            if wake == Wake::Stop {
                return;
            }
        }
    }

    fn look(&mut self) {
        let next = self
            .next_eyes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(eyes) = next {
            self.wake_up.look_for_udp(eyes.has_udp);
            self.eyes = eyes;
        }
        let start = Instant::now();
        match self.eyes.scanner.scan_into(&mut self.sockets) {
            Ok(()) => {
                let has_changed = self.publish();
                self.wake_up.looked(start, Instant::now(), has_changed);
            }
            Err(error) => self.report(&error),
        }
    }

    fn sleep(&mut self) -> Wake {
        let is_told = self.wake_up.tells_of_processes();
        loop {
            let Due::At(limit) = self.due else {
                return Wake::Due;
            };
            let processes = !self.attributor.knows_that_processes_changed();
            let wake = self.wake_up.sleep(&self.bell, limit, processes);
            if wake == Wake::Processes {
                self.attributor.processes_changed();
                self.due = Due::At(self.attributor.next(Instant::now()));
            }
            if is_told && !self.wake_up.tells_of_processes() {
                self.due = Due::AtOnce;
            }
            match wake {
                Wake::Processes => {}
                Wake::Due | Wake::Stop => return wake,
            }
        }
    }

    /// Says whether there is anything new.
    fn publish(&mut self) -> bool {
        let at = Instant::now();
        self.scans += 1;
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "listing listening sockets works again");
            self.failures = 0;
        }
        // Most looks end here: they cost nothing for each socket but the comparison.
        let has_found = self.attributor.has_found() || self.due.is_over(at);
        let is_known = self.shows_the_same() && !has_found;
        let listeners = (!is_known).then(|| self.listeners(at));
        let (source, wake_up, scans) = (self.eyes.source, self.wake_up.view(), self.scans);
        self.sender.send_if_modified(|observed| {
            let recovered = observed.trouble.take().is_some();
            let listeners = match (&observed.last, listeners) {
                (Some(last), listeners)
                    if listeners.as_ref().is_none_or(|new| *new == last.listeners)
                        && last.source == source
                        && last.wake_up == wake_up =>
                {
                    return recovered;
                }
                (_, Some(listeners)) => listeners,
                (last, None) => last
                    .as_ref()
                    .map(|last| last.listeners.clone())
                    .unwrap_or_default(),
            };
            observed.last = Some(Arc::new(Observation {
                listeners,
                source,
                wake_up,
                at,
                scans,
            }));
            true
        })
    }

    /// Whether the present sockets are those that were published last.
    fn shows_the_same(&self) -> bool {
        let observed = self.sender.borrow();
        let published = observed.last.iter().flat_map(|last| &last.listeners);
        self.sockets.iter().eq(published.map(|listener| &listener.socket))
    }

    /// The present sockets with their owners, as far as these are known.
    fn listeners(&mut self, at: Instant) -> Vec<Arc<Listener>> {
        self.attributor
            .is_told_of_processes(self.wake_up.tells_of_processes());
        self.attributor.listening(&self.wake_up.listening(), at);
        let owners = self.attributor.attribute(&self.sockets, at);
        self.due = Due::At(self.attributor.next(Instant::now()));
        let last = self.sender.borrow().last.clone();
        let before = last.as_ref().map_or(&[][..], |last| &last.listeners);
        let all = self.sockets.iter().zip(owners);
        let all = all.map(|(socket, owner)| Attributed {
            socket,
            owner,
            is_decided: self.attributor.is_decided(socket),
        });
        if self.attributor.knows_all() {
            listeners(before, all, at)
        } else {
            listeners(before, that_matter(all.collect()), at)
        }
    }

    /// Keeps the last good picture: a failed scan does not mean that nothing listens.
    fn report(&mut self, error: &io::Error) {
        self.failures += 1;
        if self.failures == 1 {
            tracing::warn!(%error, source = %self.eyes.source, "cannot list listening sockets, keeping the last list");
        }
        let trouble = format!("cannot list listening sockets from {}: {error}", self.eyes.source);
        self.sender.send_if_modified(|observed| {
            let changed = observed.trouble.as_ref() != Some(&trouble);
            observed.trouble = Some(trouble);
            changed
        });
    }
}

#[cfg(test)]
mod tests;
