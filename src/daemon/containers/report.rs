//! What travels between the daemon and the reader, one JSON value a line.
//!
//! The daemon names the engine in the first line, and sends an empty line each time it wants a new list. The reader answers
//! every such line, and also tells what it learns unasked.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::list::List;

/// The longest first line, in bytes.
pub(super) const QUESTION_BYTES: usize = 256;
/// The longest report, in bytes: JSON doubles a text of quotes, and keys and marks are added to what a list may keep.
pub(super) const REPORT_BYTES: usize = 5 * 1024 * 1024;

/// What became of asking an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// How many new lists had been wanted when the engine was asked.
    pub(super) again: u64,
    /// What it answered.
    pub(super) answer: Answer,
}

/// What an engine answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// Its containers.
    List(List),
    /// Nothing that can be used, although it is there.
    Silent(String),
    /// It is not there, or not for us. The text says why, and what to do.
    Absent(String),
}

/// A value as a line.
pub(super) fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// A line as a value.
pub(super) fn read<T: DeserializeOwned>(line: &str) -> io::Result<T> {
    Ok(serde_json::from_str(line)?)
}
