//! Looking at something that may hang: on a thread of its own, which the command does not wait for when time is up.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

/// A question under way.
#[derive(Debug)]
pub(super) struct Asked<T>(Receiver<T>);

impl<T: Send + 'static> Asked<T> {
    /// Begins to look.
    pub(super) fn begin(look: impl FnOnce() -> T + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        // Without a thread there is no sender, and so no answer. Nobody waits for a late one.
        let _thread = thread::Builder::new()
            .name("doctor".to_owned())
            .spawn(move || sender.send(look()).unwrap_or_default());
        Self(receiver)
    }

    /// The answer, if it comes in time.
    pub(super) fn by(self, end: Instant) -> Option<T> {
        let left = end.saturating_duration_since(Instant::now());
        self.0.recv_timeout(left).ok()
    }
}
