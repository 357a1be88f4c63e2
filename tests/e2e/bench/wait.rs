//! Waiting for conditions, with deadlines. Never for a time.

use std::time::{Duration, Instant};

/// For what should happen at once, on a machine that may be busy.
pub const SOON: Duration = Duration::from_secs(10);
/// For what is promised within a second: the second, and another for a busy machine.
pub const A_SECOND: Duration = Duration::from_secs(2);

const PAUSE: Duration = Duration::from_millis(20);

/// Tries until it works and hands out the result.
///
/// # Panics
/// When it still fails at the deadline, with what was seen last.
#[track_caller]
pub fn eventually<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > limit => panic!("not within {limit:?}; seen last: {seen}"),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Looks again and again for the whole time: something must not change.
///
/// # Panics
/// At the first failure.
#[track_caller]
pub fn stays(time: Duration, mut look: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while start.elapsed() < time {
        if let Err(seen) = look() {
            panic!("changed after {:?}: {seen}", start.elapsed());
        }
        std::thread::sleep(PAUSE);
    }
}

/// A condition as a result, for [`eventually`] and [`stays`].
pub fn check(holds: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(seen()) }
}
