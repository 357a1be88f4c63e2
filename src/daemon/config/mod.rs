//! The configuration of the daemon, `/etc/wslnetd/config.toml`: raw as written, with places, then resolved, with
//! every default filled in. What follows from it is decided in [`crate::policy`].

mod raw;
mod selector;
mod warnings;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use wslnet_console::diagnose::{self, Place, Report, Source};
use wslnet_protocol::Reach;

use crate::listeners::SourceChoice;

#[cfg(test)]
pub(crate) use selector::tests as selector_tests;
pub use selector::{Facts, Key, Matcher, Selector, SelectorError, Term};
pub use warnings::warnings;

/// Where the configuration is unless the user says otherwise.
pub const STANDARD_PATH: &str = "/etc/wslnetd/config.toml";

/// The resolved configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Listeners that stay private; the first that matches is the reason.
    pub opt_out: Vec<OptOut>,
    /// How far all others go.
    pub reach: Reach,
    /// Where listening sockets are read from.
    pub source: SourceChoice,
    /// The networking mode where WSL cannot be asked for it.
    pub mode_outside_wsl: ModeOutsideWsl,
    /// Where the companion is.
    pub companion: CompanionAddress,
}

/// One selector of `opt-out`, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOut {
    /// Which listeners.
    pub selector: Selector,
    /// The selector as the file writes it.
    pub text: String,
    /// Where in the file.
    pub place: Place,
}

/// What `network-mode` says. Inside WSL it is not asked: there the mode comes from WSL itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModeOutsideWsl {
    /// Nothing: outside WSL the daemon cannot know how to reach the companion.
    Unset,
    /// As in WSL's NAT mode: the companion dials the address of this machine.
    Nat,
}

/// Where the companion listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompanionAddress {
    /// At the default gateway, which in NAT mode is Windows.
    DefaultGateway {
        /// The port there.
        port: u16,
    },
    /// At this address.
    Fixed(SocketAddr),
}

impl ModeOutsideWsl {
    /// The value as [`crate::network::detect`] takes it.
    #[must_use]
    pub fn configured(self) -> Option<&'static str> {
        match self {
            Self::Unset => None,
            Self::Nat => Some("nat"),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            opt_out: Vec::new(),
            reach: Reach::Lan,
            source: SourceChoice::Auto,
            mode_outside_wsl: ModeOutsideWsl::Unset,
            companion: CompanionAddress::DefaultGateway {
                port: wslnet_protocol::DEFAULT_PORT,
            },
        }
    }
}

/// Reads the file at `path`; none when there is no such file, which means the defaults unless the user named it.
///
/// # Errors
/// Everything that is wrong with the file, at once.
pub fn load(path: &Path) -> Result<Option<Config>, Report> {
    diagnose::read_file(path)?.map(parse).transpose()
}

/// Reads the text of a config file.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn parse(source: Source) -> Result<Config, Report> {
    let positions = source.clone();
    diagnose::parse(source, |table| {
        let raw = raw::Raw::take(table);
        resolve(raw, &positions, table)
    })
}

fn resolve(raw: raw::Raw, source: &Source, table: &diagnose::Table<'_>) -> Config {
    let defaults = Config::default();
    let mut opt_out: Vec<OptOut> = Vec::new();
    let mut seen = BTreeSet::new();
    for written in raw.opt_out {
        let place = source.place(written.span().start);
        let selector = match Selector::parse(written.get_ref()) {
            Ok(selector) => selector,
            Err(errors) => {
                for error in errors {
                    let span = diagnose::span_within(&source.text, &written, error.span);
                    table.problem(span, error.message, Some(error.hint));
                }
                continue;
            }
        };
        // The text of a selector is the same for all that mean the same.
        if !seen.insert(selector.to_string()) {
            let first = opt_out.iter().find(|earlier| earlier.selector == selector);
            let hint = first.map(|first| format!("line {} says the same; remove one", first.place.line));
            table.problem(
                written.span(),
                format!("the selector `{selector}` is there twice"),
                hint,
            );
            continue;
        }
        opt_out.push(OptOut {
            selector,
            text: written.into_inner(),
            place,
        });
    }
    Config {
        opt_out,
        reach: raw.reach.unwrap_or(defaults.reach),
        source: raw.source.unwrap_or(defaults.source),
        mode_outside_wsl: raw.network_mode.unwrap_or(defaults.mode_outside_wsl),
        companion: raw.companion.map_or(defaults.companion, CompanionAddress::Fixed),
    }
}

#[cfg(test)]
mod tests;
