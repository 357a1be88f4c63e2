//! Waiting for conditions, with deadlines. Never for a time.

use std::time::{Duration, Instant};

/// For what should happen at once, on a machine that may be busy.
pub const SOON: Duration = Duration::from_secs(10);
/// For what is promised within a second: the second, and another for a busy machine.
pub const A_SECOND: Duration = Duration::from_secs(2);

const PAUSE: Duration = Duration::from_millis(10);

/// Tries until it works and hands out the result.
///
/// # Panics
/// When it still fails at the deadline, with what was seen last.
pub async fn eventually<T>(limit: Duration, mut attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > limit => panic!("not within {limit:?}; seen last: {seen}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// A condition as a result, for [`eventually`].
pub fn check(holds: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(seen()) }
}
