//! The log of a running program, on stderr. Under systemd each line carries its priority for the journal and no
//! time of its own; elsewhere a time and the level. What other people chose cannot forge a line or steer a terminal.

mod format;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io::{self, IsTerminal};

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

use format::{Form, Lines};

/// Why the log could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter in the environment is no filter.
    #[error("cannot read the log filter in ${variable} (such as `info` or `wslnet_daemon=debug`)")]
    Filter {
        /// Name of the environment variable.
        variable: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process already has a log.
    #[error("cannot install the log")]
    Install {
        /// Why not.
        source: TryInitError,
    },
}

/// Sends the events of the process to stderr, from level info on, or as the environment variable `variable` filters.
///
/// # Errors
/// When the variable holds no filter, or the process already has a log.
pub fn init(variable: &str) -> Result<(), LogError> {
    let filter = match std::env::var(variable) {
        Ok(directives) => EnvFilter::builder()
            .with_default_directive(LevelFilter::INFO.into())
            .parse(directives)
            .map_err(|source| LogError::Filter {
                variable: variable.to_owned(),
                source,
            })?,
        Err(_) => EnvFilter::default().add_directive(LevelFilter::INFO.into()),
    };
    let form = if platform::stderr_is_journal() {
        Form::Journal
    } else {
        Form::Terminal {
            colour: io::stderr().is_terminal(),
        }
    };
    let lines = layer()
        .event_format(Lines::new(form))
        .with_ansi(false)
        .with_writer(io::stderr)
        // Its fallback is eprintln!, which panics when stderr is what failed.
        .log_internal_errors(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|source| LogError::Install { source })
}
