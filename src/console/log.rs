//! The log of a running program, on stderr or in a file. Under systemd each line carries its priority for the journal and no
//! time of its own; elsewhere a time and the level. What other people chose cannot forge a line or steer a terminal,
//! and who reads the log, or does not, cannot hold the program up.

mod file;
mod format;
mod queue;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

pub use queue::LogGuard;

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
        source: ParseError,
    },
    /// The file of the log cannot be written.
    #[error("cannot write the log to {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The thread that writes the log could not be started.
    #[error("cannot start the thread of the log")]
    Thread {
        /// Why not.
        source: io::Error,
    },
    /// The process already has a log.
    #[error("cannot install the log")]
    Install {
        /// Why not.
        source: TryInitError,
    },
}

/// What else hears of every event, beside the lines.
pub type Listener = Box<dyn Layer<Registry> + Send + Sync>;

/// Sends the events of the process to stderr, from level info on, or as the environment variable `variable` filters,
/// until the guard is dropped. Logging never waits for stderr; where it is stuck, lines are dropped and counted.
///
/// # Errors
/// When the variable holds no filter, no thread can be started, or the process already has a log.
pub fn init(variable: &str) -> Result<LogGuard, LogError> {
    let form = if platform::stderr_is_journal() {
        Form::Journal
    } else {
        Form::Terminal {
            colour: io::stderr().is_terminal(),
        }
    };
    start(variable, io::stderr(), form, None)
}

/// The same into a file of at most 1 MiB, with as much of older lines in a second one, `NAME.1`; and to a listener.
///
/// # Errors
/// The same, and when the file cannot be opened.
pub fn init_file(variable: &str, path: &Path, listener: Option<Listener>) -> Result<LogGuard, LogError> {
    let file = file::LogFile::open(path).map_err(|source| LogError::File {
        path: path.to_owned(),
        source,
    })?;
    start(variable, file, Form::Terminal { colour: false }, listener)
}

fn start(
    variable: &str,
    reader: impl Write + Send + 'static,
    form: Form,
    listener: Option<Listener>,
) -> Result<LogGuard, LogError> {
    let filter = filter(std::env::var(variable).ok().as_deref()).map_err(|source| LogError::Filter {
        variable: variable.to_owned(),
        source,
    })?;
    let lost = move |count| {
        let text = format!("the log lost lines, because nobody took them lines={count}");
        format::line(form, Level::WARN, &text)
    };
    let (queue, guard) = queue::start(reader, lost).map_err(|source| LogError::Thread { source })?;
    let lines = layer()
        .event_format(Lines::new(form))
        .with_ansi(false)
        .with_writer(queue)
        // Its fallback is eprintln!, which panics when stderr is what failed.
        .log_internal_errors(false);
    tracing_subscriber::registry()
        .with(listener)
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|source| LogError::Install { source })?;
    Ok(guard)
}

/// Which events count: level info and above, unless these directives say otherwise. `EnvFilter`, which could also ask for values of
/// fields, would bring an engine for regular expressions with it.
fn filter(directives: Option<&str>) -> Result<Targets, ParseError> {
    let mut named = directives
        .unwrap_or_default()
        .split(',')
        // `Targets` reads one without a text as `error`.
        .filter(|directive| !directive.is_empty())
        .peekable();
    if named.peek().is_none() {
        return Ok(Targets::new().with_default(LevelFilter::INFO));
    }
    named.collect::<Vec<_>>().join(",").parse()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use tracing::Level;

    #[test]
    fn a_filter_names_levels_of_parts_and_without_one_it_is_info() {
        let enables = |directives: Option<&str>, target: &str, level: Level| {
            super::filter(directives)
                .map(|filter| filter.would_enable(target, &level))
                .ok()
        };
        for nothing in [None, Some(""), Some(",")] {
            assert_eq!(enables(nothing, "wslnet_daemon", Level::INFO), Some(true));
            assert_eq!(enables(nothing, "wslnet_daemon", Level::DEBUG), Some(false));
        }
        let one = Some("warn,wslnet_daemon=debug");
        assert_eq!(enables(one, "wslnet_daemon::run", Level::DEBUG), Some(true));
        assert_eq!(enables(one, "zbus", Level::INFO), Some(false));
        for with_a_gap in ["debug,", ",debug", "wslnet_daemon=debug,,zbus=info"] {
            assert_eq!(
                enables(Some(with_a_gap), "wslnet_daemon", Level::DEBUG),
                Some(true),
                "{with_a_gap}"
            );
        }
        assert_eq!(
            enables(Some("wslnet_daemon=loud"), "wslnet_daemon", Level::ERROR),
            None
        );
    }

    /// Holds how many lines the child of a test logs.
    const COUNT: &str = "WSLNET_TEST_LOG_LINES";

    /// Does nothing unless it is the child of another test.
    #[test]
    fn logs_when_it_is_told_to() {
        let Ok(count) = std::env::var(COUNT) else {
            return;
        };
        let _log = super::init("WSLNET_TEST_LOG").expect("a log");
        for number in 0..count.parse().expect("a number") {
            let number: u32 = number;
            tracing::info!(number, "a line");
        }
    }

    fn child(count: u32) -> Child {
        Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "log::tests::logs_when_it_is_told_to"])
            .env(COUNT, count.to_string())
            .env_remove("WSLNET_TEST_LOG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child")
    }

    #[test]
    fn every_line_is_out_when_the_program_ends() {
        let output = child(2_000).wait_with_output().expect("the end of the child");

        assert!(output.status.success());
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        let ends = (0..2_000).map(|number| format!("INFO a line number={number}"));
        assert_eq!(text.lines().count(), 2_000);
        assert!(
            text.lines().zip(ends).all(|(line, end)| line.ends_with(&end)),
            "{text}"
        );
    }

    #[test]
    fn a_program_whose_log_nobody_reads_goes_on_and_ends() {
        let mut child = child(20_000);

        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = child.try_wait().expect("the state of the child") {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().expect("killed");
                child.wait().expect("waited for");
                panic!("the child is held up by its log");
            }
            std::thread::sleep(Duration::from_millis(20));
        };

        assert!(status.success());
    }
}
