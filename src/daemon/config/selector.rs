//! Selectors: labels that must all hold, as the config writes them: `"process=node,port=3000-3999"`. Says which
//! listeners are meant, not what happens to them.
//!
//! A term is `key=value` or `key!=value`. A value may hold the wildcards of a shell (`*`, `?`, `[abc]`), where `[*]` stands
//! for the character itself and `[,]` for a comma; ports and user ids are numbers or ranges of them.

mod parse;
mod write;

use std::borrow::Cow;
use std::fmt;
use std::ops::{Range, RangeInclusive};

use glob::Pattern;

use crate::labels::{Labels, value};

pub use write::term_for;

/// What the label of a container's own label begins with; the container's key follows.
pub(super) const CONTAINER_LABEL: &str = "container.label.";

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

/// One label that must hold, or must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The label.
    pub key: Key,
    /// Whether it is `!=`: no value of the label may match, and so it also holds where there is no such label.
    pub negated: bool,
    /// What its value must be.
    pub matcher: Matcher,
}

/// The labels that a selector may name, in the order in which they are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The port that the listener has, 1 to 65535.
    Port,
    /// `tcp` or `udp`.
    Proto,
    /// `wildcard`, `loopback`, or the address.
    Bind,
    /// `ipv4`, `ipv6`; a dual-stack listener has both.
    Family,
    /// The network interface that it is bound to, by device or by address.
    Interface,
    /// Name of the process.
    Process,
    /// Path of the program.
    Exe,
    /// Unit of systemd.
    Unit,
    /// Slice of systemd.
    Slice,
    /// Name of the user that owns the socket.
    User,
    /// Number of that user.
    Uid,
    /// Group of the process.
    Group,
    /// Name of the container.
    Container,
    /// Image of the container.
    Image,
    /// Project of Docker Compose.
    ComposeProject,
    /// Service of Docker Compose.
    ComposeService,
    /// What the program says of itself by `WSLNETD=…`.
    Wslnetd,
    /// The distro.
    Distro,
    /// A label of the container: `container.label.` and the container's own key.
    ContainerLabel(String),
}

/// What the value of a label must be. Values are compared exactly, upper and lower case apart; only the characters that
/// must not be shown are all the same, U+FFFD, in labels and here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matcher {
    /// This text.
    Exact(String),
    /// A text with wildcards.
    Glob(Pattern),
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

    /// Whether all terms hold. A term `key=value` holds if any value of its label matches, so never for a label that the
    /// listener does not have; `key!=value` holds if `key=value` does not.
    #[must_use]
    pub fn matches(&self, facts: &impl Facts) -> bool {
        self.terms.iter().all(|term| {
            let found = facts
                .values(term.key.name())
                .any(|value| term.matcher.matches(value));
            found != term.negated
        })
    }

    /// The ports that it names, if it names any by `port=`: nothing else matches.
    #[must_use]
    pub fn ports(&self) -> Option<RangeInclusive<u16>> {
        self.terms
            .iter()
            .find_map(|term| match (&term.key, &term.matcher) {
                (Key::Port, Matcher::Number(range)) if !term.negated => {
                    let port = |number: &u32| u16::try_from(*number).unwrap_or(u16::MAX);
                    Some(port(range.start())..=port(range.end()))
                }
                _ => None,
            })
    }

    /// Whether it holds for one protocol only, and for which.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.terms
            .iter()
            .find_map(|term| match (&term.key, &term.matcher) {
                (Key::Proto, Matcher::Exact(word)) if !term.negated => Some(word.as_str()),
                _ => None,
            })
    }
}

impl Key {
    /// All keys that have one name, in the order in which they are shown; the labels of containers come after them.
    pub const NAMED: [Self; 18] = [
        Self::Port,
        Self::Proto,
        Self::Bind,
        Self::Family,
        Self::Interface,
        Self::Process,
        Self::Exe,
        Self::Unit,
        Self::Slice,
        Self::User,
        Self::Uid,
        Self::Group,
        Self::Container,
        Self::Image,
        Self::ComposeProject,
        Self::ComposeService,
        Self::Wslnetd,
        Self::Distro,
    ];

    /// The name of the label.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Port => "port",
            Self::Proto => "proto",
            Self::Bind => "bind",
            Self::Family => "family",
            Self::Interface => "interface",
            Self::Process => "process",
            Self::Exe => "exe",
            Self::Unit => "unit",
            Self::Slice => "slice",
            Self::User => "user",
            Self::Uid => "uid",
            Self::Group => "group",
            Self::Container => "container",
            Self::Image => "image",
            Self::ComposeProject => "compose.project",
            Self::ComposeService => "compose.service",
            Self::Wslnetd => "wslnetd",
            Self::Distro => "distro",
            Self::ContainerLabel(name) => name,
        }
    }

    /// Whether anybody can choose its values; those of the others are numbers, words and addresses.
    fn is_free_text(&self) -> bool {
        !matches!(
            self,
            Self::Port | Self::Proto | Self::Bind | Self::Family | Self::Uid
        )
    }

    /// The key of this name.
    fn named(name: &str) -> Option<Self> {
        // After a bracket, what would end a term does not.
        let ends_it = |c: char| c.is_whitespace() || matches!(c, ',' | '=' | '!' | '[');
        let of_container = |own: &str| !own.is_empty() && !own.contains(ends_it);
        if name.strip_prefix(CONTAINER_LABEL).is_some_and(of_container) {
            return Some(Self::ContainerLabel(value(name)));
        }
        Self::NAMED.into_iter().find(|key| key.name() == name)
    }
}

impl Matcher {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => text == value,
            Self::Glob(pattern) => pattern.matches(value),
            Self::Number(range) => value.parse().is_ok_and(|number| range.contains(&number)),
        }
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            // It was written without wildcards, so it may hold characters that would be some in other places.
            Self::Exact(text) => Cow::Borrowed(text),
            Self::Glob(pattern) => Cow::Borrowed(pattern.as_str()),
            Self::Number(range) if range.start() == range.end() => Cow::Owned(range.start().to_string()),
            Self::Number(range) => Cow::Owned(format!("{}-{}", range.start(), range.end())),
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
        let sign = if self.negated { "!=" } else { "=" };
        write!(f, "{}{sign}{}", self.key.name(), self.matcher)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

#[cfg(test)]
pub(crate) mod tests;
