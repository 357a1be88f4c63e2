//! The text of a hosts file: a block of ours among lines that are not ours. Pure.
//!
//! ```text
//! # BEGIN wslnet: these lines come and go with wslnet; changes to them are lost
//! 192.168.1.20 shop.wsl # wslnet
//! # END wslnet
//! ```
//!
//! Ours are the two marks, and each line of exactly this form with the tag at its end, wherever they stand. So a damaged block
//! needs no guesses about where it ended: whatever else is there is somebody else's and stays, byte for byte, in whichever
//! encoding; also what was written between the marks. A name that somebody else's line has is theirs.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::name::{HostName, Names};

/// How lines end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// A line feed.
    Lf,
    /// A carriage return and a line feed.
    CrLf,
}

/// A file with other names in its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten<'a> {
    /// The new content; the old one, borrowed, if nothing is to change.
    pub bytes: Cow<'a, [u8]>,
    /// The names that were left out, as lines of others have them.
    pub taken: BTreeSet<HostName>,
}

/// The file is UTF-16, which no system reads as a hosts file; lines of ours would make it worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utf16;

const BEGIN: &str = "# BEGIN wslnet";
const END: &str = "# END wslnet";
const EXPLANATION: &str = ": these lines come and go with wslnet; changes to them are lost";
/// In the first mark if the last line before the block had no end, so that it was given one, as the first mark has it. It goes
/// with the block.
const JOINED: &str = " (the line above had no end)";
const TAG: &str = " # wslnet";

const BOM: &[u8] = b"\xef\xbb\xbf";

impl LineEnd {
    fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
        }
    }
}

/// The file with these names, in one block, where the former one stood or else at its end. Without names there is no block, and
/// the file is what it was before there was one. `line_end` counts where the file itself shows none.
///
/// # Errors
/// [`Utf16`].
pub fn rewrite<'a>(file: &'a [u8], names: &Names, line_end: LineEnd) -> Result<Rewritten<'a>, Utf16> {
    let foreign = Foreign::of(file);
    // Without the lines of ours, too: what they hide would show once they are gone.
    if is_utf16(file) || is_utf16(&foreign.before) || foreign.before.is_empty() && is_utf16(&foreign.after) {
        return Err(Utf16);
    }
    let taken = foreign.names_among(names);
    let lines: Vec<String> = names
        .iter()
        .filter(|(name, _)| !taken.contains(*name))
        .map(|(name, address)| line(name, address))
        .collect();
    let mut bytes = Vec::with_capacity(file.len() + 128 * lines.len());
    bytes.extend(&foreign.before);
    if !lines.is_empty() {
        let end = foreign.line_end().unwrap_or(line_end).as_str();
        let joined = !foreign.before_is_whole();
        let first = [end, BEGIN, EXPLANATION, JOINED];
        let first = if joined { &first[..] } else { &first[1..3] }.concat();
        for line in [&[first][..], &lines, &[END.to_owned()]].concat() {
            bytes.extend(line.as_bytes());
            bytes.extend(end.as_bytes());
        }
    }
    bytes.extend(&foreign.after);
    let bytes = if bytes == file {
        Cow::Borrowed(file)
    } else {
        Cow::Owned(bytes)
    };
    Ok(Rewritten { bytes, taken })
}

/// All that is not ours.
struct Foreign {
    /// In front of the block, or all there is.
    before: Vec<u8>,
    /// Behind the block, and within it.
    after: Vec<u8>,
}

impl Foreign {
    fn of(file: &[u8]) -> Self {
        let mut before = Vec::new();
        let mut after = Vec::new();
        let mut first_of_ours = None;
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            let (marks, text) = split_marks(line);
            let foreign = if is_ours(text) { marks } else { line };
            // A byte order mark in front of a line of ours is not ours.
            let place = if first_of_ours.is_none() {
                &mut before
            } else {
                &mut after
            };
            place.extend(foreign);
            if foreign.len() < line.len() {
                first_of_ours = first_of_ours.or(Some(text));
            }
        }
        // What was appended since stands on a line of its own thanks to that end, which must then stay.
        if let Some(mark) = first_of_ours.filter(|mark| after.is_empty() && is_joined(mark)) {
            let (_, end) = split_end(mark);
            if before.ends_with(end) {
                before.truncate(before.len() - end.len());
            }
        }
        Self { before, after }
    }

    /// Whether what is in front of the block ends with the end of a line, or there is no text in the last line.
    fn before_is_whole(&self) -> bool {
        let last = self
            .before
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        split_marks(last).1.is_empty()
    }

    /// How the last line that has an end ends.
    fn line_end(&self) -> Option<LineEnd> {
        let of = |bytes: &[u8]| {
            let at = bytes.iter().rposition(|byte| *byte == b'\n')?;
            let line = bytes.get(..at).unwrap_or_default();
            Some(if line.ends_with(b"\r") {
                LineEnd::CrLf
            } else {
                LineEnd::Lf
            })
        };
        of(&self.after).or_else(|| of(&self.before))
    }

    /// Which of these names others have.
    fn names_among(&self, names: &Names) -> BTreeSet<HostName> {
        let lines = [&self.before, &self.after]
            .into_iter()
            .flat_map(|part| part.split(|byte| *byte == b'\n'));
        let words = lines.flat_map(|line| {
            let text = split_marks(line)
                .1
                .split(|byte| *byte == b'#')
                .next()
                .unwrap_or_default();
            text.split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty())
                .skip(1)
        });
        // Names are compared without regard to case, and with or without the dot of the root.
        let found = words.filter_map(|word| {
            let word = std::str::from_utf8(word.strip_suffix(b".").unwrap_or(word)).ok()?;
            HostName::parse(&word.to_ascii_lowercase())
        });
        found.filter(|name| names.get(name).is_some()).collect()
    }
}

fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")
}

fn line(name: &HostName, address: IpAddr) -> String {
    format!("{address} {name}{TAG}")
}

/// The byte order marks that a line begins with, and the rest. Only the first line of a file should have one; but what is
/// joined from several files has more.
fn split_marks(line: &[u8]) -> (&[u8], &[u8]) {
    let mut text = line;
    while let Some(rest) = text.strip_prefix(BOM) {
        text = rest;
    }
    line.split_at(line.len() - text.len())
}

/// A line without its end, and the end.
fn split_end(line: &[u8]) -> (&[u8], &[u8]) {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = if text.len() < line.len() {
        text.strip_suffix(b"\r").unwrap_or(text)
    } else {
        text
    };
    line.split_at(text.len())
}

fn is_ours(line: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(split_end(line).0) else {
        return false;
    };
    let text = text.trim_ascii_end();
    let is_mark = |mark| {
        text.strip_prefix(mark)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    };
    is_mark(BEGIN) || is_mark(END) || is_entry(text)
}

/// Whether this is a line as [`line()`] makes them.
fn is_entry(text: &str) -> bool {
    let parts = text.strip_suffix(TAG).and_then(|text| text.split_once(' '));
    parts.is_some_and(|(address, name)| address.parse::<IpAddr>().is_ok() && HostName::parse(name).is_some())
}

fn is_joined(mark: &[u8]) -> bool {
    let text = split_end(mark).0.trim_ascii_end();
    text.starts_with(BEGIN.as_bytes()) && text.ends_with(JOINED.as_bytes())
}

#[cfg(test)]
mod tests;
