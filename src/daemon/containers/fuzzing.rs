//! Doors for the fuzz targets (`tests/fuzz`) to what reads the answers of engines and of the reader, as it is.

use std::io;

use super::report::{self, Answer, Report};
use super::{EngineKind, list};

/// The longest report, in bytes.
pub const REPORT_BYTES: usize = report::REPORT_BYTES;

/// What the reader reports when an engine answers with this list.
///
/// # Errors
/// When it is no list.
pub fn reported(kind: EngineKind, json: &[u8]) -> io::Result<Vec<u8>> {
    let answer = Answer::List(list::parse(kind, json)?);
    report::line(&Report { again: 0, answer })
}

/// What the daemon understands of a report, written again.
///
/// # Errors
/// When it is none.
pub fn understood(line: &str) -> io::Result<Vec<u8>> {
    report::line(&report::read::<Report>(line)?)
}
