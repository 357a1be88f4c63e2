//! How far the service has come, and what the service control manager is told of it. Pure.

use std::time::Duration;

/// How often the manager hears of a start or a stop that takes its time.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// How long the manager shall wait for the next sign of life. It gives up a start after 80 seconds without one.
pub(super) const HINT: Duration = Duration::from_secs(5);
/// How long a stop may take. Then the process ends as it is: its sockets end with it, and what outlives it is known by
/// journals and marks, which the next start reads.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What the manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Not yet ready; the number grows with each sign of life.
    Starting(u32),
    /// The control endpoint answers.
    Running,
    /// It was asked to stop, and closes everything.
    Stopping(u32),
}

/// The service's own view of itself. Time is what has passed since any moment of the caller's choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    state: State,
    checkpoint: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    Stopping { since: Duration },
}

impl Progress {
    /// It has just been started.
    pub(super) fn new() -> Self {
        Self {
            state: State::Starting,
            checkpoint: 1,
        }
    }

    /// The control endpoint answers.
    pub(super) fn ready(&mut self) {
        if self.state == State::Starting {
            self.state = State::Running;
        }
    }

    /// It was asked to stop, perhaps again.
    pub(super) fn stop(&mut self, now: Duration) {
        if !self.is_stopping() {
            (self.state, self.checkpoint) = (State::Stopping { since: now }, 1);
        }
    }

    /// A beat has passed.
    pub(super) fn beat(&mut self) {
        self.checkpoint = self.checkpoint.saturating_add(1);
    }

    /// What to tell now.
    pub(super) fn told(&self) -> Told {
        match self.state {
            State::Starting => Told::Starting(self.checkpoint),
            State::Running => Told::Running,
            State::Stopping { .. } => Told::Stopping(self.checkpoint),
        }
    }

    /// Whether there is more to tell as time passes.
    pub(super) fn is_pending(&self) -> bool {
        self.state != State::Running
    }

    /// Whether the stop has taken longer than it may.
    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        matches!(self.state, State::Stopping { since } if now.saturating_sub(since) >= STOP_LIMIT)
    }

    /// The exit code for the manager, for a program that ended with this one. After an order to stop there is no failure: the manager
    /// would start again what somebody has just stopped.
    pub(super) fn code(&self, ended: u32) -> u32 {
        if self.is_stopping() { 0 } else { ended }
    }

    fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_start_shows_life_until_the_endpoint_answers() {
        let mut progress = Progress::new();
        assert_eq!(progress.told(), Told::Starting(1));

        progress.beat();
        assert_eq!(progress.told(), Told::Starting(2));
        assert!(progress.is_pending());

        progress.ready();
        assert_eq!(progress.told(), Told::Running);
        assert!(!progress.is_pending());
    }

    #[test]
    fn a_stop_that_hangs_is_overdue_however_often_it_is_asked_for() {
        let mut progress = Progress::new();
        progress.ready();
        assert!(!progress.is_overdue(SECOND * 1000), "it is not to stop");

        progress.stop(SECOND * 1000);
        progress.beat();
        progress.stop(SECOND * 1010);

        assert_eq!(progress.told(), Told::Stopping(2));
        assert!(!progress.is_overdue(SECOND * 1000 + STOP_LIMIT - SECOND));
        assert!(progress.is_overdue(SECOND * 1000 + STOP_LIMIT));
    }

    #[test]
    fn what_fails_while_it_stops_is_no_reason_to_start_it_again() {
        let mut progress = Progress::new();
        assert_eq!(progress.code(1), 1);
        progress.ready();
        assert_eq!((progress.code(2), progress.code(0)), (2, 0));

        progress.stop(SECOND);

        assert_eq!(progress.code(1), 0);
    }

    #[test]
    fn who_is_ready_after_the_stop_still_stops() {
        let mut progress = Progress::new();
        progress.stop(SECOND);
        progress.ready();

        assert_eq!(progress.told(), Told::Stopping(1));
    }

    #[test]
    fn signs_of_life_come_before_the_manager_gives_up() {
        assert!(BEAT * 2 < HINT);
    }
}
