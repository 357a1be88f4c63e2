//! What a command prints: text and JSON to stdout, errors to stderr, and the exit code. Not the log; a service
//! speaks through [`crate::log`].

mod table;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::{ExitCode, Termination};

use serde::Serialize;

pub use table::Table;

use crate::text;

/// How many characters of an error chain are shown.
const MAX_ERROR_CHARS: usize = 4_000;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It could not.
    Failure = 1,
    /// It was asked wrongly.
    Usage = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

/// Writes `text` to stdout. A reader that went away (`| head`) is success.
///
/// # Errors
/// Any other failure of the write, such as a full disk.
pub fn print(text: &str) -> io::Result<()> {
    write_to(&mut io::stdout().lock(), text)
}

/// Writes `value` to stdout as indented JSON with a newline at the end, under the same contract as [`print()`].
///
/// # Errors
/// Failures of the write, and a `value` that JSON cannot express.
pub fn print_json<T: Serialize + ?Sized>(value: &T) -> io::Result<()> {
    print(&json(value)?)
}

/// Writes `table` to stdout, fitted to the terminal or in full where there is none, under the contract of [`print()`].
///
/// # Errors
/// Failures of the write.
pub fn print_table(table: &Table) -> io::Result<()> {
    print(&table.render(terminal_width()))
}

/// Writes `program: error: …` with the whole chain of causes to stderr, in one line.
pub fn report_error(program: &str, error: &(dyn Error + 'static)) {
    let line = format!("{program}: error: {}\n", chain(error));
    // Nobody is left to tell when stderr is gone.
    let _gone = io::stderr().lock().write_all(line.as_bytes());
}

/// Writes text that is already safe to show, such as a rendered report, to stderr.
pub fn print_to_stderr(text: &str) {
    // Nobody is left to tell when stderr is gone.
    let _gone = io::stderr().lock().write_all(text.as_bytes());
}

/// The messages of an error and its causes, joined by `: `, safe to show.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut messages = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        messages.push(error.to_string());
        next = error.source();
    }
    text::clean(messages.join(": "), MAX_ERROR_CHARS)
}

/// `value` as indented JSON with a newline at the end. What could steer a terminal is written as `\uXXXX`.
///
/// # Errors
/// A `value` that JSON cannot express, such as a map with keys that are no strings.
pub fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    let plain = serde_json::to_string_pretty(value)?;
    let mut safe = String::with_capacity(plain.len() + 1);
    for c in plain.chars() {
        // Past the line breaks of the layout such characters stand only inside strings, where the escape is equal.
        if c != '\n' && text::is_hostile(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe.push('\n');
    Ok(safe)
}

/// Columns of the terminal that stdout is; none when it is a file or a pipe.
#[must_use]
pub fn terminal_width() -> Option<u16> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(stdout).map(|(width, _)| width.0)
}

/// Whether stderr is a terminal, and so may be coloured.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

fn write_to(writer: &mut impl Write, text: &str) -> io::Result<()> {
    match writer.write_all(text.as_bytes()).and_then(|()| writer.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use std::io::{self, Write};

    use super::{chain, json, write_to};

    /// A writer that fails in one way.
    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the {0}")]
    struct Outer(&'static str, #[source] io::Error);

    #[test]
    fn a_reader_that_went_away_is_success_and_a_full_disk_is_not() {
        assert!(write_to(&mut Failing(io::ErrorKind::BrokenPipe), "x").is_ok());
        assert!(write_to(&mut Failing(io::ErrorKind::StorageFull), "x").is_err());
    }

    #[test]
    fn the_chain_names_every_cause_once_and_harmless() {
        let error = Outer("key\u{1b}[2J", io::Error::other("permission\ndenied"));

        assert_eq!(
            chain(&error),
            "cannot read the key\u{fffd}[2J: permission\u{fffd}denied"
        );
    }

    #[test]
    fn json_is_safe_on_a_terminal_and_means_the_same() {
        let value = serde_json::json!({ "process": "a\u{1b}[31m\u{9b}\u{7f}\u{202e}\n\"é日" });

        let text = json(&value).expect("serializable");

        assert!(text.ends_with("}\n"));
        assert!(
            text.chars().all(|c| c == '\n' || !crate::text::is_hostile(c)),
            "{text}"
        );
        assert!(text.contains("é日"));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).expect("valid"),
            value
        );
    }
}
