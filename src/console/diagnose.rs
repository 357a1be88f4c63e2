//! Diagnostics of config files: every problem of a file at once, each with its place and a hint. This is not a
//! config: what the keys are and mean is said by whoever walks the file with a [`Table`].

mod config_file;
mod file;
mod nearest;
mod positions;
mod reader;
mod render;
mod reports;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

pub use config_file::ConfigFile;
pub use file::{MAX_FILE_BYTES, read_file};
pub use nearest::nearest;
pub use positions::Positions;
pub use reader::{NumberOr, StringsOr, Table, parse, span_within};
pub use reports::Reports;
pub use toml::Spanned;

use crate::text;

/// How many characters of a message, a hint or a name are shown.
const MAX_MESSAGE_CHARS: usize = 600;

/// How many problems are kept. A hostile file can hold a hundred thousand; nobody reads past the first screens.
const MAX_PROBLEMS: usize = 1_000;

/// A named text that problems point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What to call it: the path as the user gave it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Bytes of the source that it concerns; none when it concerns the file as a whole.
    pub span: Option<Range<usize>>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Where something stands in a source, as people count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the source.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Everything that is wrong with one source.
///
/// `Display` renders all of it with the offending lines; [`Report::summary`] says it in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    source: Source,
    /// In the order of the file.
    problems: Vec<Problem>,
    /// How many more there were.
    dropped: usize,
}

impl Report {
    /// A report without problems yet.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            problems: Vec::new(),
            dropped: 0,
        }
    }

    /// A report of one problem that concerns the file `name` as a whole.
    #[must_use]
    pub fn of_file(name: impl Into<String>, message: impl Into<String>, hint: Option<String>) -> Self {
        let mut report = Self::new(Source {
            name: name.into(),
            text: String::new(),
        });
        report.add(None, message, hint);
        report
    }

    /// Adds a problem. A span that reaches past the text is cut to it.
    pub fn add(&mut self, span: Option<Range<usize>>, message: impl Into<String>, hint: Option<String>) {
        if self.problems.len() >= MAX_PROBLEMS {
            self.dropped += 1;
            return;
        }
        let end = self.source.text.len();
        let span = span.map(|span| {
            let start = floor_boundary(&self.source.text, span.start.min(end));
            start..ceil_boundary(&self.source.text, span.end.clamp(start, end))
        });
        let start = span.as_ref().map(|span| span.start);
        let at = self
            .problems
            .partition_point(|p| p.span.as_ref().map(|span| span.start) <= start);
        let problem = Problem {
            span,
            message: text::clean(message.into(), MAX_MESSAGE_CHARS),
            hint: hint.map(|hint| text::clean(hint, MAX_MESSAGE_CHARS)),
        };
        self.problems.insert(at, problem);
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// What is wrong, in the order of the file; at most the first thousand that were found.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The source that the spans count in.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Where `problem` stands; none when it concerns the file as a whole.
    #[must_use]
    pub fn place(&self, problem: &Problem) -> Option<Place> {
        problem.span.as_ref().map(|span| self.source.place(span.start))
    }

    /// The first problem in one line, and how many more there are.
    #[must_use]
    pub fn summary(&self) -> String {
        let Some(first) = self.problems.first() else {
            return format!("{}: no errors", self.source.shown_name());
        };
        let place = self.place(first).map_or_else(
            || self.source.shown_name().into_owned(),
            |place| place.to_string(),
        );
        let more = match self.problems.len() - 1 + self.dropped {
            0 => String::new(),
            1 => " (and 1 more error)".to_owned(),
            more => format!(" (and {more} more errors)"),
        };
        format!("{place}: {}{more}", first.message)
    }

    /// The whole report for a reader, with the offending lines; with ANSI colours only if `colour`.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        render::render(self, colour)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

impl Source {
    /// Where the byte at `offset` stands; past the end counts as the end. Walks through the text: for many places there are
    /// [`Positions`].
    #[must_use]
    pub fn place(&self, offset: usize) -> Place {
        Positions::of(self).place(offset)
    }

    /// The name, safe to show.
    fn shown_name(&self) -> Cow<'_, str> {
        Cow::Owned(text::clean(&self.name, MAX_MESSAGE_CHARS))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.name, self.line, self.column)
    }
}

/// The nearest character boundary at or before `offset`.
fn floor_boundary(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    (0..=offset)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

/// The nearest character boundary at or after `offset`.
fn ceil_boundary(text: &str, offset: usize) -> usize {
    (offset..text.len())
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::{Report, Source};

    fn report(text: &str) -> Report {
        Report::new(Source {
            name: "c.toml".to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = Source {
            name: "c.toml".to_owned(),
            text: "é = 1\nb = 2".to_owned(),
        };

        assert_eq!(source.place(0).to_string(), "c.toml:1:1");
        assert_eq!(source.place("é ".len()).to_string(), "c.toml:1:3");
        assert_eq!(source.place("é = 1\nb".len()).to_string(), "c.toml:2:2");
        assert_eq!(source.place(999).to_string(), "c.toml:2:6");
    }

    #[test]
    fn the_summary_names_the_first_problem_and_counts_the_rest() {
        let mut report = report("a = 1\nb = 2\n");
        report.add(Some(6..7), "later", None);
        assert_eq!(report.summary(), "c.toml:2:1: later");

        report.add(Some(0..1), "earlier", None);
        report.add(None, "no place", None);

        assert_eq!(report.summary(), "c.toml: no place (and 2 more errors)");
    }

    #[test]
    fn spans_are_cut_to_the_text_and_to_characters() {
        let mut report = report("é");

        report.add(Some(1..50), "x", None);

        assert_eq!(report.problems()[0].span, Some(0..2));
    }

    #[test]
    fn messages_cannot_carry_escape_sequences() {
        let mut report = report("a = 1\n");

        report.add(Some(0..1), "bad \u{1b}[31m", Some("hint \u{202e}".to_owned()));

        assert!(!report.render(false).contains(['\u{1b}', '\u{202e}']));
    }
}
