//! Selectors: labels that must all hold, as the config writes them: `"process=node,port=3000-3999"`. Says which
//! listeners are meant, not what happens to them.

mod parse;

use std::fmt;
use std::ops::{Range, RangeInclusive};

use crate::labels::Labels;

/// What a selector can ask about: the labels of a listener. A key may have several values, or none.
pub trait Facts {
    /// All values of the label `key`.
    fn values(&self, key: &str) -> impl Iterator<Item = &str>;
}

impl Facts for Labels {
    fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        Labels::values(self, key)
    }
}

/// Labels that must all hold. Its terms stand in the order of their keys, so two selectors that mean the same are
/// equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    terms: Vec<Term>,
}

/// One label that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The label.
    pub key: Key,
    /// What its value must be.
    pub matcher: Matcher,
}

/// The labels that a selector may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The port that the listener has, 1 to 65535.
    Port,
    /// `tcp`.
    Proto,
    /// `wildcard`, `loopback`, or the address.
    Bind,
    /// Name of the process.
    Process,
    /// Path of the program.
    Exe,
    /// Name of the user that owns the socket.
    User,
    /// Number of that user.
    Uid,
}

/// What the value of a label must be. Values are compared exactly, upper and lower case apart; only the characters that
/// must not be shown are all the same, U+FFFD, in labels and here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matcher {
    /// This text.
    Exact(String),
    /// A number in this range.
    Number(RangeInclusive<u32>),
}

/// One mistake in the text of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorError {
    /// Bytes of the text that it concerns.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// Every mistake in `text`, in its order; at least one.
    pub fn parse(text: &str) -> Result<Self, Vec<SelectorError>> {
        parse::selector(text)
    }

    /// The labels that must all hold, in the order of their keys.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether all terms hold. A term holds if any value of its label does; a label that the listener does not have
    /// never holds.
    #[must_use]
    pub fn matches(&self, facts: &impl Facts) -> bool {
        self.terms.iter().all(|term| {
            facts
                .values(term.key.name())
                .any(|value| term.matcher.matches(value))
        })
    }
}

impl Key {
    /// All keys, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Port,
        Self::Proto,
        Self::Bind,
        Self::Process,
        Self::Exe,
        Self::User,
        Self::Uid,
    ];

    /// The name of the label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Proto => "proto",
            Self::Bind => "bind",
            Self::Process => "process",
            Self::Exe => "exe",
            Self::User => "user",
            Self::Uid => "uid",
        }
    }
}

impl Matcher {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => text == value,
            Self::Number(range) => value.parse().is_ok_and(|number| range.contains(&number)),
        }
    }
}

impl fmt::Display for Selector {
    /// Writes it so that [`Selector::parse`] gives the same selector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key.name(), self.matcher)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Number(range) if range.start() == range.end() => write!(f, "{}", range.start()),
            Self::Number(range) => write!(f, "{}-{}", range.start(), range.end()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
