//! Reads the text of a selector and finds every mistake in it.

use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};

use glob::Pattern;
use wslnet_console::diagnose::nearest;

use super::{CONTAINER_LABEL, Key, Matcher, Selector, SelectorError, Term};
use crate::labels;

/// Longest process name that the kernel keeps, in bytes (TASK_COMM_LEN less its end mark, include/linux/sched.h).
const COMM_BYTES: usize = 15;
/// Longest path, in bytes (PATH_MAX less its end mark, include/uapi/linux/limits.h).
const PATH_BYTES: usize = 4095;
/// What the kernel adds to the path of a program whose file is gone; the label leaves it out.
const DELETED: &str = " (deleted)";

/// A piece of the selector's text and where it starts.
#[derive(Clone, Copy)]
struct Piece<'t> {
    text: &'t str,
    start: usize,
}

impl<'t> Piece<'t> {
    fn trimmed(self) -> Self {
        let start = self.start + (self.text.len() - self.text.trim_start().len());
        Self {
            text: self.text.trim(),
            start,
        }
    }

    fn split_at(self, separator: char) -> Option<(Self, Self)> {
        let (left, right) = self.text.split_once(separator)?;
        let start = self.start + left.len() + separator.len_utf8();
        Some((
            Self {
                text: left,
                start: self.start,
            }
            .trimmed(),
            Self { text: right, start }.trimmed(),
        ))
    }

    fn span(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    fn error(self, message: impl Into<String>, hint: impl Into<String>) -> SelectorError {
        SelectorError {
            span: self.span(),
            message: message.into(),
            hint: hint.into(),
        }
    }
}

pub(super) fn selector(text: &str) -> Result<Selector, Vec<SelectorError>> {
    let whole = Piece { text, start: 0 };
    if text.trim().is_empty() {
        return Err(vec![whole.error(
            "the selector is empty",
            "write labels, such as \"process=node,port=3000\"",
        )]);
    }

    let mut terms: Vec<Term> = Vec::new();
    let mut errors = Vec::new();
    for piece in parts(text) {
        let written = match Written::read(piece) {
            Ok(written) => written,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let Written {
            key,
            negated,
            value,
            name,
        } = written;
        // Two that must both hold are nearly always meant as two that may; two that must not hold are of use.
        if !negated && terms.iter().any(|term| term.key == key && !term.negated) {
            errors.push(name.error(
                format!("`{}` is given twice, and both must hold", key.name()),
                "write two selectors if either is meant",
            ));
            continue;
        }
        match matcher(&key, value) {
            Ok(matcher) => terms.push(Term {
                key,
                negated,
                matcher,
            }),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    terms.sort_by_cached_key(|term| (term.key.clone(), term.negated, term.matcher.to_string()));
    terms.dedup();
    Ok(Selector { terms })
}

/// The parts between the commas, where a comma in brackets is a character like others.
fn parts(text: &str) -> Vec<Piece<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        match c {
            ',' => {
                parts.push(Piece {
                    text: &text[start..at],
                    start,
                });
                start = at + 1;
                at += 1;
            }
            '[' => at += set_length(&text[at..]).unwrap_or(1),
            _ => at += c.len_utf8(),
        }
    }
    parts.push(Piece {
        text: &text[start..],
        start,
    });
    parts
}

/// How long the set of characters is that begins here: `[abc]`, `[!abc]`, also `[]]`; none where it is not closed.
fn set_length(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('[')?;
    let inner = inner.strip_prefix('!').unwrap_or(inner);
    let first = inner.chars().next()?.len_utf8();
    let end = inner.get(first..)?.find(']')?;
    Some(text.len() - inner.len() + first + end + 1)
}

/// One term as it is written.
struct Written<'t> {
    key: Key,
    negated: bool,
    value: Piece<'t>,
    name: Piece<'t>,
}

impl<'t> Written<'t> {
    fn read(part: Piece<'t>) -> Result<Self, SelectorError> {
        let trimmed = part.trimmed();
        if trimmed.text.is_empty() {
            return Err(part.error("nothing stands between the commas", "remove a comma"));
        }
        let Some((name, value)) = trimmed.split_at('=') else {
            return Err(trimmed.error(
                format!("`{}` is no label", trimmed.text),
                "write key=value, such as \"port=3000\"",
            ));
        };
        let (name, negated) = match name.text.strip_suffix('!') {
            Some(text) => (Piece { text, ..name }.trimmed(), true),
            None => (name, false),
        };
        let Some(key) = Key::named(name.text) else {
            let at = if name.text.is_empty() { trimmed } else { name };
            return Err(at.error(format!("unknown label `{}`", name.text), meant(name.text)));
        };
        if value.text.is_empty() {
            return Err(trimmed.error(format!("`{}` has no value", name.text), example(&key)));
        }
        Ok(Self {
            key,
            negated,
            value,
            name,
        })
    }
}

/// What to say of a label that there is not.
fn meant(name: &str) -> String {
    if name.starts_with("container.label") || name.starts_with("label.") {
        return format!("write the key of a container's label as in \"{CONTAINER_LABEL}team=web\"");
    }
    let known = Key::NAMED.each_ref().map(Key::name);
    match nearest(name, known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known labels: {}, {CONTAINER_LABEL}KEY", known.join(", ")),
    }
}

fn matcher(key: &Key, value: Piece<'_>) -> Result<Matcher, SelectorError> {
    let text = value.text;
    match key {
        Key::Port => number(key, value, 1..=u32::from(u16::MAX)),
        // The last one is no user: the kernel uses it for "unchanged".
        Key::Uid => number(key, value, 0..=u32::MAX - 1),
        Key::Proto => word(key, value, &["tcp", "udp"]),
        Key::Family => word(key, value, &["ipv4", "ipv6"]),
        _ if text.contains(['*', '?', '[']) => glob(value),
        Key::Bind => bind(value),
        Key::Process => match kept_of_name(text) {
            None => Ok(Matcher::Exact(labels::value(text))),
            Some(kept) => Err(value.error(
                format!("no process is called `{text}`: the kernel keeps {COMM_BYTES} bytes of a name"),
                format!("write \"process={kept}\""),
            )),
        },
        Key::Exe if text.len() > PATH_BYTES => Err(value.error(
            format!("no path is longer than {PATH_BYTES} bytes"),
            "write another label, such as \"process=node\"",
        )),
        Key::Exe if text.ends_with(DELETED) => Err(value.error(
            format!("`{DELETED}` is what the kernel says of a file that is gone, and not looked at here"),
            format!("write \"exe={}\"", text.trim_end_matches(DELETED)),
        )),
        Key::Exe if !text.starts_with('/') => Err(value.error(
            format!("`{text}` is no whole path"),
            format!("write the path from the root, such as \"exe=/usr/bin/{text}\", or \"process={text}\""),
        )),
        Key::User if text.bytes().all(|byte| byte.is_ascii_digit()) => Err(value.error(
            format!("`{text}` is a number, not the name of a user"),
            format!("write \"uid={text}\""),
        )),
        Key::Unit if !text.contains('.') => Err(value.error(
            format!("`{text}` is no whole name of a unit"),
            format!("write \"unit={text}.service\""),
        )),
        Key::Slice if !text.ends_with(".slice") => Err(value.error(
            format!("`{text}` is no whole name of a slice"),
            format!("write \"slice={text}.slice\""),
        )),
        Key::Interface
        | Key::Exe
        | Key::Unit
        | Key::Slice
        | Key::User
        | Key::Group
        | Key::Container
        | Key::Image
        | Key::ComposeProject
        | Key::ComposeService
        | Key::Wslnetd
        | Key::Distro
        | Key::ContainerLabel(_) => Ok(Matcher::Exact(labels::value(text))),
    }
}

fn glob(value: Piece<'_>) -> Result<Matcher, SelectorError> {
    let text = labels::value(value.text);
    Pattern::new(&text).map(Matcher::Glob).map_err(|error| {
        let special = |c: &char| matches!(c, '*' | '?' | '[');
        let character = value.text.chars().find(special).unwrap_or('[');
        value.error(
            format!("`{}` is no pattern: {}", value.text, error.msg),
            format!("write [{character}] where the character itself is meant"),
        )
    })
}

/// What the kernel makes of a name that is too long. It may cut through a character, and what is left of that one reads
/// as U+FFFD; so written by the user, that one stands for a single byte.
fn kept_of_name(name: &str) -> Option<String> {
    let mut bytes = 0;
    for (at, c) in name.char_indices() {
        let length = if c == char::REPLACEMENT_CHARACTER {
            1
        } else {
            c.len_utf8()
        };
        if bytes + length > COMM_BYTES {
            let mut kept = name.get(..at).unwrap_or_default().to_owned();
            if bytes < COMM_BYTES {
                kept.push(char::REPLACEMENT_CHARACTER);
            }
            return Some(kept);
        }
        bytes += length;
    }
    None
}

fn number(key: &Key, value: Piece<'_>, allowed: RangeInclusive<u32>) -> Result<Matcher, SelectorError> {
    let bounds = format!(
        "from {} to {}, or a range of them, such as \"{}\"",
        allowed.start(),
        allowed.end(),
        example(key)
    );
    let one = |piece: Piece<'_>| {
        if piece.text.is_empty() || !piece.text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(value.error(
                format!("`{}` is no number of `{}`", value.text, key.name()),
                bounds.clone(),
            ));
        }
        let number = piece.text.parse().ok().filter(|number| allowed.contains(number));
        number.ok_or_else(|| {
            piece.error(
                format!("{} `{}` is out of range", key.name(), piece.text),
                bounds.clone(),
            )
        })
    };
    let Some((first, last)) = value.split_at('-') else {
        let number = one(value)?;
        return Ok(Matcher::Number(number..=number));
    };
    let (low, high) = (one(first)?, one(last)?);
    if low > high {
        return Err(value.error(
            format!("the range `{}` runs backwards", value.text),
            format!("write \"{}={high}-{low}\"", key.name()),
        ));
    }
    Ok(Matcher::Number(low..=high))
}

fn word(key: &Key, value: Piece<'_>, allowed: &[&str]) -> Result<Matcher, SelectorError> {
    if allowed.contains(&value.text) {
        return Ok(Matcher::Exact(value.text.to_owned()));
    }
    let hint = match nearest(value.text, allowed.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("allowed: {}", allowed.join(", ")),
    };
    Err(value.error(format!("`{}` is no value of `{}`", value.text, key.name()), hint))
}

fn bind(value: Piece<'_>) -> Result<Matcher, SelectorError> {
    if let Ok(address) = value.text.parse::<IpAddr>() {
        let address = address.to_canonical();
        // The label of these is a word, so the address would never match.
        let class = if address.is_unspecified() {
            "wildcard"
        } else if address.is_loopback() {
            "loopback"
        } else {
            return Ok(Matcher::Exact(address.to_string()));
        };
        return Err(value.error(
            format!("`{}` has a name here", value.text),
            format!("write \"bind={class}\""),
        ));
    }
    word(&Key::Bind, value, &["wildcard", "loopback"]).map_err(|mut error| {
        if error.hint.starts_with("allowed") {
            error.hint.push_str(", or an IP address");
        }
        error
    })
}

fn example(key: &Key) -> String {
    let value = match key {
        Key::Port => "3000-3999",
        Key::Proto => "tcp",
        Key::Bind => "wildcard",
        Key::Family => "ipv4",
        Key::Interface => "eth0",
        Key::Process => "node",
        Key::Exe => "/usr/bin/node",
        Key::Unit => "nginx.service",
        Key::Slice => "user.slice",
        Key::User => "www-data",
        Key::Uid => "1000-1999",
        Key::Group => "docker",
        Key::Container => "web",
        Key::Image => "nginx*",
        Key::ComposeProject => "shop",
        Key::ComposeService => "web",
        Key::Wslnetd => "host",
        Key::Distro => "Ubuntu",
        Key::ContainerLabel(_) => "web",
    };
    format!("{}={value}", key.name())
}
