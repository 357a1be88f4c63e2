//! Walks a TOML document key by key and collects every problem instead of stopping at the first. What a key means
//! stays with the caller; this only knows types, ranges and which keys were asked for.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::{Problem, Report, Source, nearest};

/// Reads `source` as TOML and lets `walk` take what it knows from the top table.
///
/// # Errors
/// The report of everything that is wrong: syntax, and whatever the walk found.
pub fn parse<T>(source: Source, walk: impl FnOnce(&mut Table<'_>) -> T) -> Result<T, Report> {
    let (document, syntax) = DeTable::parse_recoverable(&source.text);
    let problems = RefCell::new(Vec::new());
    let value = walk(&mut Table {
        text: &source.text,
        problems: &problems,
        place: String::new(),
        span: None,
        entries: document.into_inner(),
        known: Vec::new(),
    });

    let found = merge(&source.text, &syntax, problems.into_inner());
    if found.is_empty() {
        return Ok(value);
    }
    let mut report = Report::new(source);
    for problem in found {
        report.add(problem.span, problem.message, problem.hint);
    }
    Err(report)
}

/// The bytes of the file that hold `part` (a byte range of the value) of a string value.
///
/// A string with escapes does not stand in the file as it is: then the span of the whole value is the answer.
#[must_use]
pub fn span_within(file: &str, value: &Spanned<String>, part: Range<usize>) -> Range<usize> {
    let whole = value.span();
    let written = file.get(whole.clone()).unwrap_or_default();
    let quote = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| written.starts_with(quote))
        .unwrap_or_default();
    let inner = written
        .strip_prefix(quote)
        .and_then(|rest| rest.strip_suffix(quote));
    if inner == Some(value.get_ref().as_str()) && part.start <= part.end && part.end <= value.get_ref().len()
    {
        let start = whole.start + quote.len();
        start + part.start..start + part.end
    } else {
        whole
    }
}

/// One table of a document. Each reader method takes a key out; what nobody asked for when the table is dropped is
/// reported as an unknown key.
#[derive(Debug)]
pub struct Table<'d> {
    text: &'d str,
    problems: &'d RefCell<Vec<Problem>>,
    /// How messages call the table: empty for the top one, else ` in [name]`.
    place: String,
    /// The header; none for the top table.
    span: Option<Range<usize>>,
    entries: DeTable<'d>,
    known: Vec<&'static str>,
}

/// What [`Table::integer_or`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberOr<T> {
    /// An integer.
    Number(i64),
    /// One of the words.
    Choice(T),
}

/// What [`Table::strings_or`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StringsOr<T> {
    /// An array.
    Strings(Vec<Spanned<String>>),
    /// One of the words.
    Choice(T),
}

impl<'d> Table<'d> {
    /// Takes a string.
    pub fn string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.take(key)?;
        let span = value.span();
        if let DeValue::String(text) = value.get_ref() {
            return Some(Spanned::new(span, text.clone().into_owned()));
        }
        self.wrong_type(key, &value, "a string", &format!("write {key} = \"…\""));
        None
    }

    /// Takes an array of strings; elements of another type are reported and left out.
    pub fn strings(&mut self, key: &'static str) -> Option<Vec<Spanned<String>>> {
        let value = self.take(key)?;
        let DeValue::Array(elements) = value.get_ref() else {
            self.wrong_type(
                key,
                &value,
                "an array of strings",
                &format!("write {key} = [\"…\", \"…\"]"),
            );
            return None;
        };
        let mut strings = Vec::new();
        for element in elements.iter() {
            if let DeValue::String(text) = element.get_ref() {
                strings.push(Spanned::new(element.span(), text.clone().into_owned()));
            } else {
                self.wrong_type(
                    key,
                    element,
                    "only strings",
                    &format!("write {key} = [\"…\", \"…\"]"),
                );
            }
        }
        Some(strings)
    }

    /// Takes an array of strings, or one string that is one of `choices`.
    pub fn strings_or<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<StringsOr<T>> {
        if matches!(
            self.entries.get(key).map(Spanned::get_ref),
            Some(DeValue::String(_))
        ) {
            return self
                .choice(key, choices)
                .map(|choice| StringsOr::Choice(choice.into_inner()));
        }
        self.strings(key).map(StringsOr::Strings)
    }

    /// Takes an integer within `range`.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<Spanned<i64>> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Integer(written) = value.get_ref() else {
            self.wrong_type(
                key,
                &value,
                "an integer",
                &format!("write {key} = {}", range.start()),
            );
            return None;
        };
        let number = i64::from_str_radix(written.as_str(), written.radix()).ok();
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(Spanned::new(span, number));
        }
        self.problem(
            span,
            format!("`{written}` is out of range for `{key}`"),
            Some(format!("from {} to {}", range.start(), range.end())),
        );
        None
    }

    /// Takes `true` or `false`.
    pub fn boolean(&mut self, key: &'static str) -> Option<Spanned<bool>> {
        let value = self.take(key)?;
        if let DeValue::Boolean(written) = value.get_ref() {
            return Some(Spanned::new(value.span(), *written));
        }
        self.wrong_type(key, &value, "true or false", &format!("write {key} = true"));
        None
    }

    /// Takes an integer within `range`, or a string that is one of `choices`.
    pub fn integer_or<T: Copy>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
        choices: &[(&str, T)],
    ) -> Option<Spanned<NumberOr<T>>> {
        let is_text = self
            .entries
            .get(key)
            .is_some_and(|value| matches!(value.get_ref(), DeValue::String(_)));
        if is_text {
            let chosen = self.choice(key, choices)?;
            return Some(Spanned::new(chosen.span(), NumberOr::Choice(*chosen.get_ref())));
        }
        let number = self.integer(key, range)?;
        Some(Spanned::new(number.span(), NumberOr::Number(*number.get_ref())))
    }

    /// Takes a string that must be one of `choices`.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<Spanned<T>> {
        let value = self.take(key)?;
        let allowed: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let allowed = format!("allowed: {}", allowed.join(", "));
        let DeValue::String(written) = value.get_ref() else {
            self.wrong_type(key, &value, "a string", &allowed);
            return None;
        };
        if let Some((_, chosen)) = choices.iter().find(|(name, _)| name == written) {
            return Some(Spanned::new(value.span(), *chosen));
        }
        let hint = match nearest(written, choices.iter().map(|(name, _)| *name)) {
            Some(meant) => format!("did you mean \"{meant}\"? {allowed}"),
            None => allowed,
        };
        self.problem(
            value.span(),
            format!("`{written}` is no value of `{key}`"),
            Some(hint),
        );
        None
    }

    /// Takes a string and parses it; `expected` is the hint when that fails, such as `an address and a port`.
    pub fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Option<Spanned<T>> {
        let written = self.string(key)?;
        match written.get_ref().parse() {
            Ok(value) => Some(Spanned::new(written.span(), value)),
            Err(error) => {
                self.problem(
                    written.span(),
                    format!("`{}` is no value of `{key}`: {error}", written.get_ref()),
                    Some(expected.to_owned()),
                );
                None
            }
        }
    }

    /// Takes a table, `[key]`.
    pub fn table(&mut self, key: &'static str) -> Option<Table<'d>> {
        let value = self.take(key)?;
        let span = value.span();
        if let DeValue::Table(entries) = value.get_ref() {
            return Some(self.inner(format!(" in [{key}]"), span, entries.clone()));
        }
        self.wrong_type(key, &value, "a table", &format!("write a section [{key}]"));
        None
    }

    /// Takes an array of tables, `[[key]]`, in the order of the file; empty when there is none.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'d>> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let span = value.span();
        let DeValue::Array(elements) = value.get_ref() else {
            self.wrong_type(
                key,
                &value,
                "an array of tables",
                &format!("write sections [[{key}]]"),
            );
            return Vec::new();
        };
        let mut tables = Vec::new();
        for element in elements.iter() {
            if let DeValue::Table(entries) = element.get_ref() {
                tables.push(self.inner(format!(" in [[{key}]]"), element.span(), entries.clone()));
            } else {
                self.wrong_type(key, element, "only tables", &format!("write sections [[{key}]]"));
            }
        }
        if elements.is_empty() {
            self.problem(
                span,
                format!("`{key}` is empty"),
                Some(format!("write sections [[{key}]], or leave it out")),
            );
        }
        tables
    }

    /// The header of the table in the file; none for the top one.
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// Reports what the caller found wrong at `span`.
    pub fn problem(&self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        self.problems.borrow_mut().push(Problem {
            span: Some(span),
            message: message.into(),
            hint,
        });
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'d>>> {
        self.known.push(key);
        self.entries.remove(key)
    }

    fn inner(&self, place: String, span: Range<usize>, entries: DeTable<'d>) -> Table<'d> {
        Table {
            text: self.text,
            problems: self.problems,
            place,
            span: Some(span),
            entries,
            known: Vec::new(),
        }
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str, hint: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.problem(
            value.span(),
            format!("`{key}` takes {expected}, and this is {found}"),
            Some(hint.to_owned()),
        );
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        let mut known = self.known.clone();
        known.sort_unstable();
        known.dedup();
        for key in self.entries.keys() {
            let hint = match (nearest(key.get_ref(), known.iter().copied()), known.is_empty()) {
                (Some(meant), _) => Some(format!("did you mean `{meant}`?")),
                (None, false) => Some(format!("known keys{}: {}", self.place, known.join(", "))),
                (None, true) => None,
            };
            self.problem(
                key.span(),
                format!("unknown key `{}`{}", key.get_ref(), self.place),
                hint,
            );
        }
    }
}

/// Joins what the parser and the walk found, without what only follows from an earlier mistake.
fn merge(text: &str, syntax: &[Error], walked: Vec<Problem>) -> Vec<Problem> {
    let start = |problem: &Problem| problem.span.as_ref().map_or(0, |span| span.start);
    let line = |problem: &Problem| {
        let at = start(problem).min(text.len());
        text.as_bytes()[..at]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |newline| newline + 1)
    };

    let mut broken: Vec<Problem> = syntax
        .iter()
        .map(|error| Problem {
            span: error.span(),
            message: format!("TOML syntax: {}", error.message()),
            hint: error
                .message()
                .starts_with("string values must be quoted")
                .then(|| "write it between double quotes".to_owned()),
        })
        .collect();
    broken.sort_by_key(start);
    let Some(first) = broken.first().map(start) else {
        return walked;
    };

    // An open bracket swallows what follows as its elements: nothing after it can be judged.
    let is_unclosed = |problem: &Problem| {
        ["unclosed array", "unclosed inline table"]
            .iter()
            .any(|kind| problem.message.contains(kind))
    };
    let swallowed = broken.iter().any(is_unclosed);
    if swallowed {
        let end = broken.iter().find(|problem| is_unclosed(problem)).cloned();
        broken.truncate(1);
        for problem in &mut broken {
            problem.hint = Some("the bracket that was opened before this is not closed".to_owned());
        }
        broken.extend(end.filter(|end| start(end) != first));
    }
    // One slip makes several errors on its line; the first is the slip.
    broken.dedup_by_key(|problem| line(problem));

    let broken_lines: BTreeSet<usize> = broken.iter().map(line).collect();
    let is_sound = |problem: &Problem| {
        let follows = swallowed && start(problem) >= first;
        !follows && !broken_lines.contains(&line(problem))
    };
    let mut all: Vec<Problem> = walked.into_iter().filter(is_sound).collect();
    all.extend(broken);
    all
}

#[cfg(test)]
mod tests;
