//! The verb `run-service`: what the service control manager of Windows starts. It is the same program as `run`, told to stop
//! and of the end of sleep by the manager instead of a console, and without a user's environment: all places are named on its command line.

#[cfg(not(windows))]
mod elsewhere;
#[cfg(any(windows, test))]
mod progress;
#[cfg(windows)]
mod windows;

#[cfg(not(windows))]
pub(crate) use elsewhere::run;
#[cfg(windows)]
pub(crate) use windows::{LOG_FILE, NAME, run};
