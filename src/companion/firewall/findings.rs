//! What in Windows Firewall stands in the way of clients, each with what helps. Pure.
//!
//! It can be told what is certainly wrong, not that all is well: other rules, other firewalls and the network itself are not looked
//! at. So where nothing is found, nothing is claimed.

use std::path::Path;

use super::{Look, Origin, Policy, Profile, Properties, StoreError, Void};
use crate::config::Backend;
use crate::firewall::rule::{lets_in, profiles};
use crate::host::{Categories, Category, Service};
use wslnet_protocol::Protocol;

/// Something that stands in the way, or keeps one from knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is, as a sentence without its full stop.
    pub what: String,
    /// What helps.
    pub fix: String,
    /// Whether it keeps out the clients of the forwards in some network that is in use.
    pub keeps_clients_out: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// This program's file.
    pub image: &'a Path,
    /// The categories of the networks in which forwards listen.
    pub used: Categories,
    /// Who accepts the connections.
    pub backend: Backend,
    /// Whether some forward is UDP.
    pub udp: bool,
    /// The control port that distros must reach and have not reached; `None` once one has.
    pub unreached: Option<u16>,
}

/// What one look at the firewall means.
pub fn findings(look: &Result<Look, StoreError>, question: Question<'_>) -> Vec<Finding> {
    let look = match look {
        Ok(look) => look,
        Err(error) => {
            return vec![Finding {
                what: format!("Windows Firewall could not be looked at: {error}"),
                fix: "clients may be kept out, which only a try from another machine can show until then"
                    .to_owned(),
                keeps_clients_out: false,
            }];
        }
    };
    if !matches!(look.service, Service::Running(_)) {
        return vec![Finding {
            what: "the service Windows Defender Firewall (mpssvc) does not run, so rules cannot be looked at or changed".to_owned(),
            fix: "as an administrator run `sc config mpssvc start= auto` and restart Windows, unless another firewall has its place"
                .to_owned(),
            keeps_clients_out: false,
        }];
    }
    let guarded = |among: Categories| -> Categories {
        let on = |profile: &&Profile| profile.enabled && among.contains(profile.category);
        look.profiles
            .iter()
            .filter(on)
            .map(|profile| profile.category)
            .collect()
    };
    let used = guarded(question.used);
    let mut found = Vec::new();
    if used != Categories::default() {
        found.extend(settings(look, used));
        if question.backend == Backend::Relay {
            found.extend(block_rules(look, used));
            found.extend(missing_rules(look, used, question));
        }
    }
    if let Some(port) = question.unreached
        && guarded(Categories::from_iter([Category::Public])).contains(Category::Public)
        && !is_let_in(look, Protocol::Tcp, Some(port), Category::Public)
    {
        found.push(Finding {
            what: format!(
                "no rule lets distros in at the control port {port}: the WSL adapter's network is public, so they run into a time-out"
            ),
            fix: install_again(question.image),
            keeps_clients_out: false,
        });
    }
    found
}

fn settings(look: &Look, used: Categories) -> Vec<Finding> {
    let mut found = Vec::new();
    for profile in look
        .profiles
        .iter()
        .filter(|profile| profile.blocks_all && used.contains(profile.category))
    {
        found.push(Finding {
            what: format!(
                "Windows Firewall blocks all incoming connections in {} networks, whatever the rules say",
                profile.category
            ),
            fix:
                "untick \"Block all incoming connections\" in Windows Security, Firewall & network protection"
                    .to_owned(),
            keeps_clients_out: true,
        });
    }
    let counts = |policy: &&Policy| match policy.category {
        Some(category) => used.contains(category),
        None => used.contains(Category::Private) || used.contains(Category::Public),
    };
    // Of the profile's own switch, Windows has told above.
    let is_told = |policy: &&Policy| {
        let mut profiles = look.profiles.iter().filter(|profile| profile.blocks_all);
        policy.origin == Origin::Local && profiles.any(|profile| Some(profile.category) == policy.category)
    };
    let policies = look.policies.iter().filter(counts);
    found.extend(policies.filter(|policy| !is_told(policy)).map(void_rules));
    match look.void {
        Some(Void::GroupPolicy) if !look.policies.iter().any(is_group_policy) => found.push(Finding {
            what: "group policy overrides the firewall settings of this machine".to_owned(),
            fix: "ask whoever administers this machine whether its rules let the ports in".to_owned(),
            // Some settings are overridden; whether it is these, Windows does not say.
            keeps_clients_out: false,
        }),
        Some(Void::AllBlocked) if !found.iter().any(|finding| finding.keeps_clients_out) => found
            .push(Finding {
            what: "Windows Firewall blocks all incoming connections, whatever the rules say".to_owned(),
            fix:
                "untick \"Block all incoming connections\" in Windows Security, Firewall & network protection"
                    .to_owned(),
            keeps_clients_out: true,
        }),
        Some(Void::GroupPolicy | Void::AllBlocked) | None => {}
    }
    found
}

fn is_group_policy(policy: &Policy) -> bool {
    policy.origin == Origin::GroupPolicy
}

/// A value of the registry that makes the machine's rules void, and who can change it.
fn void_rules(policy: &Policy) -> Finding {
    let place = format!(r"`{}` in HKLM\{}", policy.value, policy.key);
    let (what, fix) = match policy.origin {
        Origin::GroupPolicy => (
            format!("group policy makes the firewall rules of this machine void ({place})"),
            "ask whoever administers this machine for a rule by group policy".to_owned(),
        ),
        Origin::Local => (
            format!("a setting of this machine's firewall makes its rules void ({place})"),
            "untick \"Block all incoming connections\" in Windows Security, Firewall & network protection, or as an administrator set \
             the value back"
                .to_owned(),
        ),
    };
    Finding {
        what,
        fix,
        keeps_clients_out: true,
    }
}

/// Windows makes two of them when a program listens for which there is no rule, and its user presses "Cancel" or may not be asked.
fn block_rules(look: &Look, used: Categories) -> Option<Finding> {
    let blocks = |rule: &&Properties| {
        rule.enabled && rule.inbound && !rule.allow && meet(profiles(rule.profiles), used)
    };
    let names: Vec<&str> = look
        .image
        .iter()
        .filter(blocks)
        .map(|rule| rule.name.as_str())
        .collect();
    let (first, _) = names.split_first()?;
    Some(Finding {
        what: format!(
            "{} rule(s) of Windows Firewall block this program (`{}`), and a rule that blocks beats those that allow",
            names.len(),
            wslnet_console::text::clean(first, 80)
        ),
        fix: "as an administrator delete what blocks wslnet-companion.exe under Inbound Rules in `wf.msc`"
            .to_owned(),
        keeps_clients_out: true,
    })
}

fn missing_rules(look: &Look, used: Categories, question: Question<'_>) -> Vec<Finding> {
    let protocols = [Some(Protocol::Tcp), question.udp.then_some(Protocol::Udp)];
    let mut found = Vec::new();
    for protocol in protocols.into_iter().flatten() {
        let missing: Categories = used
            .iter()
            .filter(|category| !is_let_in(look, protocol, None, *category))
            .collect();
        if missing != Categories::default() {
            found.push(Finding {
                what: format!(
                    "no rule of Windows Firewall lets clients of this program in over {} in networks that are {}",
                    protocol.to_string().to_uppercase(),
                    missing.iter().map(Category::name).collect::<Vec<_>>().join(" or "),
                ),
                fix: install_again(question.image),
                keeps_clients_out: true,
            });
        }
    }
    found
}

fn install_again(image: &Path) -> String {
    format!(
        "run `wslnet-companion install`, which asks for an administrator by itself: it makes the rules for the program that it installs, in \
         the networks that `networks` names (what runs now is {})",
        wslnet_console::text::clean(image.display().to_string(), 260)
    )
}

/// Whether a rule that names this program lets in, at this port or at all of them.
fn is_let_in(look: &Look, protocol: Protocol, port: Option<u16>, category: Category) -> bool {
    look.image
        .iter()
        .any(|rule| lets_in(rule, protocol, port) && profiles(rule.profiles).contains(category))
}

fn meet(one: Categories, other: Categories) -> bool {
    one.iter().any(|category| other.contains(category))
}

#[cfg(test)]
mod tests;
