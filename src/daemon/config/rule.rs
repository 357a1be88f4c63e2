//! One `[[rule]]`: which listeners it is about, and what it changes for them.

use wslnet_console::diagnose::{NumberOr, Place, Positions, Spanned, Table, span_within};
use wslnet_protocol::{Reach, name};

use super::raw::RawRule;
use super::selector::Selector;
use crate::labels;

/// What becomes of the listeners that match, unless an earlier rule matches them too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which listeners.
    pub when: Selector,
    /// The selector as the file writes it, safe to print.
    pub text: String,
    /// Where the rule stands.
    pub place: Place,
    /// Whether they are shared. `true` holds against every `opt-out`; without a word the lists of `opt-out` count.
    pub expose: Option<bool>,
    /// How far they go.
    pub reach: Option<Reach>,
    /// Which port they get on Windows.
    pub listen_port: ListenPort,
    /// The name under which people find them.
    pub name: Option<String>,
    /// Whether services on loopback are carried to the VM's address.
    pub bridge: bool,
    /// Whether it shares UDP too. A rule without that is about TCP alone, unless it keeps things private.
    pub udp: bool,
}

/// The port on Windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenPort {
    /// The same as in the VM.
    Same,
    /// This one.
    Fixed(u16),
    /// The same as in the VM, or another one where somebody else holds that.
    Auto,
}

impl Rule {
    /// Checks a rule; none where a mistake makes it useless. Mistakes go to the table's report.
    pub(super) fn resolve(raw: RawRule, positions: &Positions<'_>, table: &Table<'_>) -> Option<Self> {
        let problem = |span, message: &str, hint: &str| {
            table.problem(span, message, Some(hint.to_owned()));
        };
        let Some(written) = raw.when else {
            problem(
                raw.span,
                "the rule does not say which listeners it is about",
                "write when = \"port=8000\"",
            );
            return None;
        };
        let when = read_selector(&written, positions.text(), table)?;
        let bridge = raw.loopback.is_some();
        let udp = raw.udp.as_ref().is_some_and(|udp| *udp.get_ref());
        let is_private = raw.expose.as_ref().is_some_and(|expose| !*expose.get_ref());
        if let Some(loopback) = raw.loopback.as_ref().filter(|_| when.ports().is_none()) {
            problem(
                loopback.span(),
                "a rule with `loopback = \"bridge\"` must name the port: it makes network clients look like local ones",
                "add the port to `when`, such as \"process=node,port=5173\"",
            );
        }
        match when.protocol() {
            Some("udp") if !udp && !is_private => problem(
                written.span(),
                "the rule is about UDP and lacks `udp = true`",
                "add udp = true",
            ),
            Some("tcp") if udp => problem(
                written.span(),
                "`udp = true` in a rule about TCP",
                "remove udp = true, or remove proto=tcp from `when`",
            ),
            Some("udp") if bridge => problem(
                written.span(),
                "UDP is not bridged from loopback",
                "remove loopback = \"bridge\" and bind the service to 0.0.0.0",
            ),
            Some(_) | None => {}
        }
        let changes = [
            ("reach", raw.reach.as_ref().map(Spanned::span)),
            ("listen-port", raw.listen_port.as_ref().map(Spanned::span)),
            ("name", raw.name.as_ref().map(Spanned::span)),
            ("loopback", raw.loopback.as_ref().map(Spanned::span)),
        ];
        for (key, span) in changes.into_iter().filter(|_| is_private) {
            if let Some(span) = span {
                problem(
                    span,
                    &format!("`{key}` means nothing where `expose = false`"),
                    "remove one of them",
                );
            }
        }
        Some(Self {
            when,
            place: positions.place(written.span().start),
            text: labels::value(written.into_inner()),
            expose: raw.expose.map(Spanned::into_inner),
            reach: raw.reach.map(Spanned::into_inner),
            listen_port: raw.listen_port.map_or(ListenPort::Same, |written| {
                match *written.get_ref() {
                    // The reader has checked the range.
                    NumberOr::Number(port) => u16::try_from(port).map_or(ListenPort::Same, ListenPort::Fixed),
                    NumberOr::Choice(_) => ListenPort::Auto,
                }
            }),
            name: raw.name.and_then(|name| checked_name(&name, table)),
            bridge,
            udp,
        })
    }

    /// Whether it is about UDP sockets too.
    #[must_use]
    pub fn is_about_udp(&self) -> bool {
        self.udp || self.expose == Some(false)
    }

    /// Whether a later rule that selects the same never counts.
    pub(super) fn leaves_nothing_for(&self, later: &Self) -> bool {
        self.when == later.when && (self.is_about_udp() || !later.is_about_udp())
    }
}

/// Reads a selector; its mistakes go to the table's report.
pub(super) fn read_selector(written: &Spanned<String>, file: &str, table: &Table<'_>) -> Option<Selector> {
    match Selector::parse(written.get_ref()) {
        Ok(selector) => Some(selector),
        Err(errors) => {
            for error in errors {
                let span = span_within(file, written, error.span);
                table.problem(span, error.message, Some(error.hint));
            }
            None
        }
    }
}

fn checked_name(written: &Spanned<String>, table: &Table<'_>) -> Option<String> {
    let text = written.get_ref();
    match name::check(text) {
        Ok(()) => Some(text.clone()),
        Err(why) => {
            table.problem(
                written.span(),
                format!("`{text}` is no name: {why}"),
                Some("write one word, such as name = \"shop\" for shop.wsl".to_owned()),
            );
            None
        }
    }
}
