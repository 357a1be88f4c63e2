//! The configuration of the daemon, `/etc/wslnetd/config.toml` and the drop-in files beside it: raw as written, with places,
//! then resolved, with every default filled in. What follows from it is decided in [`crate::policy`].
//!
//! The drop-in files count as if they were appended to the main one in the order of their names: their selectors of
//! `opt-out` and their rules come after its own, and of a setting that several files have the last one counts.

mod files;
mod raw;
mod rule;
mod selector;
mod warnings;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use wslnet_console::diagnose::{self, Place, Positions, Report, Reports, Source};
use wslnet_protocol::Reach;

use crate::labels;
use crate::listeners::{SourceChoice, UdpInterest};

pub use files::ConfigFiles;
pub use rule::{ListenPort, Rule};
#[cfg(test)]
pub(crate) use selector::tests as selector_tests;
pub use selector::{Facts, Key, Matcher, Selector, SelectorError, Term, term_for};
pub use warnings::warnings;

/// Where the configuration is unless the user says otherwise.
pub const STANDARD_PATH: &str = "/etc/wslnetd/config.toml";

/// The resolved configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Listeners that stay private; the first that matches is the reason.
    pub opt_out: Vec<OptOut>,
    /// What else is to be done with some listeners; the first that matches counts, and no other.
    pub rules: Vec<Rule>,
    /// How far all others go.
    pub reach: Reach,
    /// Where listening sockets are read from.
    pub source: SourceChoice,
    /// The networking mode where WSL cannot be asked for it.
    pub mode_outside_wsl: ModeOutsideWsl,
    /// Where the companion is.
    pub companion: CompanionAddress,
    /// The name of the distro where WSL does not tell it.
    pub distro: Option<String>,
    /// Whether names are kept in the distro's hosts file.
    pub hosts: bool,
}

/// One selector of `opt-out`, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOut {
    /// Which listeners.
    pub selector: Selector,
    /// The selector as the file writes it, safe to print.
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
    /// Where the networking mode has Windows: at the default gateway in NAT mode, at 127.0.0.1 where ports are shared.
    Default {
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
            rules: Vec::new(),
            reach: Reach::Lan,
            source: SourceChoice::Auto,
            mode_outside_wsl: ModeOutsideWsl::Unset,
            companion: CompanionAddress::Default {
                port: wslnet_protocol::DEFAULT_PORT,
            },
            distro: None,
            hosts: false,
        }
    }
}

impl Config {
    /// Whether any selector asks for the name of the distro.
    #[must_use]
    pub fn names_distro(&self) -> bool {
        let opt_out = self.opt_out.iter().map(|opted| &opted.selector);
        let mut selectors = opt_out.chain(self.rules.iter().map(|rule| &rule.when));
        selectors.any(|selector| selector.terms().iter().any(|term| term.key == Key::Distro))
    }

    /// Which UDP sockets a rule could share.
    #[must_use]
    pub fn udp_interest(&self) -> UdpInterest {
        let mut interest = UdpInterest::default();
        for rule in self.rules.iter().filter(|rule| rule.udp) {
            match rule.when.ports() {
                Some(ports) => interest.ports.push(ports),
                None => interest.servers = true,
            }
        }
        interest
    }
}

/// Reads the texts of the config files, in their order.
///
/// # Errors
/// Everything that is wrong with any of them, at once.
pub fn parse(sources: Vec<Source>) -> Result<Config, Reports> {
    let mut config = Config::default();
    let mut reports = Vec::new();
    for source in sources {
        match parse_one(source) {
            Ok(part) => part.join(&mut config),
            Err(report) => reports.push(report),
        }
    }
    match Reports::join(reports) {
        Some(reports) => Err(reports),
        None => Ok(config),
    }
}

/// What one file contributes.
struct Part {
    opt_out: Vec<OptOut>,
    rules: Vec<Rule>,
    reach: Option<Reach>,
    source: Option<SourceChoice>,
    mode_outside_wsl: Option<ModeOutsideWsl>,
    companion: Option<SocketAddr>,
    distro: Option<String>,
    hosts: Option<bool>,
}

impl Part {
    fn join(self, config: &mut Config) {
        config.opt_out.extend(self.opt_out);
        config.rules.extend(self.rules);
        config.reach = self.reach.unwrap_or(config.reach);
        config.source = self.source.unwrap_or(config.source);
        config.mode_outside_wsl = self.mode_outside_wsl.unwrap_or(config.mode_outside_wsl);
        config.companion = self.companion.map_or(config.companion, CompanionAddress::Fixed);
        config.distro = self.distro.or(config.distro.take());
        config.hosts = self.hosts.unwrap_or(config.hosts);
    }
}

fn parse_one(source: Source) -> Result<Part, Report> {
    let copy = source.clone();
    let positions = Positions::of(&copy);
    diagnose::parse(source, |table| {
        let raw = raw::Raw::take(table);
        resolve(raw, &positions, table)
    })
}

fn resolve(raw: raw::Raw, positions: &Positions<'_>, table: &diagnose::Table<'_>) -> Part {
    let mut opt_out: Vec<OptOut> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for written in raw.opt_out {
        let place = positions.place(written.span().start);
        let Some(selector) = rule::read_selector(&written, positions.text(), table) else {
            continue;
        };
        // The text of a selector is the same for all that mean the same.
        let meaning = selector.to_string();
        if let Some(line) = seen.get(&meaning) {
            table.problem(
                written.span(),
                format!("the selector `{meaning}` is there twice"),
                Some(format!("line {line} says the same; remove one")),
            );
            continue;
        }
        seen.insert(meaning, place.line);
        opt_out.push(OptOut {
            selector,
            text: labels::value(written.into_inner()),
            place,
        });
    }
    let mut rules: Vec<Rule> = Vec::new();
    let mut of_meaning: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for written in raw.rules {
        let span = written.span.clone();
        let Some(rule) = Rule::resolve(written, positions, table) else {
            continue;
        };
        let alike = of_meaning.entry(rule.when.to_string()).or_default();
        let mut earlier = alike.iter().filter_map(|at| rules.get(*at));
        if let Some(earlier) = earlier.find(|earlier| earlier.leaves_nothing_for(&rule)) {
            table.problem(
                span,
                format!(
                    "the rule never counts: one before it is about `{}` too",
                    rule.when
                ),
                Some(format!("join it with the rule of line {}", earlier.place.line)),
            );
        }
        alike.push(rules.len());
        rules.push(rule);
    }
    Part {
        opt_out,
        rules,
        reach: raw.reach,
        source: raw.source,
        mode_outside_wsl: raw.network_mode,
        companion: raw.companion,
        distro: raw.distro,
        hosts: raw.hosts,
    }
}

#[cfg(test)]
mod documents;
#[cfg(test)]
mod tests;
