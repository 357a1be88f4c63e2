//! Between the program and stderr, so that no reader of the log can hold the program up: a Windows console in which
//! text is selected (QuickEdit), a pipe that nobody empties, a journal that hangs. What does not fit is dropped and
//! counted. Not a file log, and no promise of delivery.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How many bytes wait for the reader at most; as many again may be on their way to it.
const MAX_WAITING_BYTES: usize = 1 << 20;

/// How long the end of the program waits for the reader.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// Takes lines without ever waiting for the one who reads them.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<Shared>);

/// Keeps the log going. When it is dropped, what is still in the queue is written, unless the reader is stuck; what is
/// logged afterwards is lost. So it belongs where the program ends.
#[derive(Debug)]
#[must_use = "the log ends when its guard is dropped"]
pub struct LogGuard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines, the oldest first.
    waiting: Vec<u8>,
    /// Lines that came after all of `waiting` and found no room.
    dropped: u64,
    /// No more lines are taken.
    closed: bool,
    /// The thread has written all it will write.
    done: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread that writes to `reader`. `lost` makes the line that says how many lines were dropped.
pub(super) fn start(
    reader: impl Write + Send + 'static,
    lost: impl Fn(u64) -> String + Send + 'static,
) -> io::Result<(Queue, LogGuard)> {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        changed: Condvar::new(),
    });
    let thread = Thread {
        shared: Arc::clone(&shared),
    };
    // Never joined: a stuck write would hold the end of the program up. The guard waits for `done` instead.
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || thread.run(reader, lost))?;
    Ok((Queue(Arc::clone(&shared)), LogGuard(shared)))
}

impl Write for &Queue {
    /// Takes `lines` as a whole or drops them as a whole.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        // Once one was dropped, those after it wait for room too, so that the gap stands in one place.
        if state.closed || state.dropped > 0 || state.waiting.len() + lines.len() > MAX_WAITING_BYTES {
            state.dropped += 1;
        } else {
            state.waiting.extend_from_slice(lines);
        }
        drop(state);
        self.0.changed.notify_all();
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.changed.notify_all();
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, FLUSH_TIME, |state| !state.done);
        // Nobody is left to tell what a stuck reader did not take.
        drop(waited);
    }
}

struct Thread {
    shared: Arc<Shared>,
}

impl Thread {
    fn run(&self, mut reader: impl Write, lost: impl Fn(u64) -> String) {
        while let Some((mut lines, dropped)) = self.next() {
            if dropped > 0 {
                lines.extend_from_slice(lost(dropped).as_bytes());
            }
            // Nobody is left to tell when the reader is gone.
            let _gone = reader.write_all(&lines).and_then(|()| reader.flush());
        }
    }

    /// Everything that waits, and how many lines were dropped after it; `None` when the queue is closed and empty.
    fn next(&self) -> Option<(Vec<u8>, u64)> {
        let idle = |state: &mut State| state.waiting.is_empty() && state.dropped == 0 && !state.closed;
        let mut state = self
            .shared
            .changed
            .wait_while(self.shared.lock(), idle)
            .unwrap_or_else(PoisonError::into_inner);
        let (lines, dropped) = (mem::take(&mut state.waiting), mem::take(&mut state.dropped));
        (!lines.is_empty() || dropped > 0).then_some((lines, dropped))
    }
}

impl Drop for Thread {
    /// Also when the reader panics.
    fn drop(&mut self) {
        self.shared.lock().done = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use std::io::{BufRead, BufReader, Read, Write};
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::{FLUSH_TIME, LogGuard, MAX_WAITING_BYTES, Queue};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn start(reader: impl Write + Send + 'static) -> (Queue, LogGuard) {
        super::start(reader, |lost| format!("lost {lost}\n")).expect("a thread")
    }

    fn put(mut queue: &Queue, line: &str) {
        queue.write_all(line.as_bytes()).expect("never fails");
    }

    #[test]
    fn every_line_is_out_when_the_guard_is_gone() {
        let (mut read, write) = std::io::pipe().expect("a pipe");
        let reader = thread::spawn(move || {
            let mut text = String::new();
            read.read_to_string(&mut text).expect("UTF-8");
            text
        });

        let (queue, guard) = start(write);
        let mut expected = String::new();
        for number in 0..1_000 {
            let line = format!("line {number}\n");
            put(&queue, &line);
            expected += &line;
        }
        drop(guard);

        assert_eq!(reader.join().expect("joined"), expected);
    }

    #[test]
    fn a_reader_that_is_stuck_stops_nobody_and_hears_later_what_was_lost() {
        let (read, write) = std::io::pipe().expect("a pipe");
        let (queue, guard) = start(write);
        let line = format!("{}\n", "x".repeat(1_023));
        let fitting = MAX_WAITING_BYTES / line.len();
        let count = 4 * fitting;

        let (done, finished) = mpsc::channel();
        let logger = {
            let queue = queue.clone();
            thread::spawn(move || {
                for _ in 0..count {
                    put(&queue, &line);
                }
                done.send(()).expect("somebody waits");
            })
        };
        finished
            .recv_timeout(PATIENCE)
            .expect("the logger is not held up");
        logger.join().expect("joined");

        // The reader wakes up: once it has everything and every note, there is room again.
        let mut lines = BufReader::new(read).lines();
        let mut next = || lines.next().expect("a line").expect("UTF-8");
        let (mut whole, mut lost) = (0, 0);
        while whole + lost < count {
            match next().strip_prefix("lost ") {
                Some(number) => lost += number.parse::<usize>().expect("a number"),
                None => whole += 1,
            }
        }
        put(&queue, "again\n");
        assert_eq!(next(), "again");
        drop(guard);

        assert_eq!((whole + lost, lines.count()), (count, 0));
        assert!(lost > 0 && whole >= fitting);
    }

    #[test]
    fn the_end_waits_for_a_stuck_reader_only_so_long() {
        let (_read, write) = std::io::pipe().expect("a pipe");
        let (queue, guard) = start(write);
        put(&queue, &"x".repeat(MAX_WAITING_BYTES));

        let before = Instant::now();
        drop(guard);

        assert!(before.elapsed() < FLUSH_TIME + PATIENCE);
    }

    #[test]
    fn a_reader_that_went_away_is_no_trouble() {
        let (read, write) = std::io::pipe().expect("a pipe");
        drop(read);
        let (queue, guard) = start(write);

        let before = Instant::now();
        put(&queue, "nobody hears this\n");
        drop(guard);

        assert!(before.elapsed() < FLUSH_TIME);
    }
}
