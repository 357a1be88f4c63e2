//! Which rules an opening comes down to. Pure.

use std::collections::BTreeSet;

use super::Admitted;
use crate::config::Clients;
use crate::firewall::{HyperVRule, Rule, Scope};
use crate::ledger::Key;
use crate::plan::Opening;

/// How the names of this backend's rules begin. Others of our group have other names.
const PREFIX: &str = "wslnet shared port ";

/// Whether a rule of our group is this backend's.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The rule of Windows Firewall: by port, protocol and addresses alone, of which Windows makes one of the Hyper-V firewall; of a rule
/// with a program it makes none (microsoft/WSL, issues 10714 and 10597).
pub(super) fn rule(key: Key, opening: &Opening, scope: Admitted) -> Rule {
    Rule {
        name: format!("{PREFIX}{} {}", key.protocol, key.port),
        description: "Lets the local network reach a port that WSL shares with Windows. Made by wslnet-companion, and removed with \
                      its listener."
            .to_owned(),
        program: None,
        service: None,
        protocol: key.protocol,
        local_ports: BTreeSet::from([key.port]),
        local_addresses: opening
            .listen
            .iter()
            .map(|place| Scope::Network {
                address: place.ip(),
                prefix: if place.is_ipv4() { 32 } else { 128 },
            })
            .collect(),
        remote_addresses: match scope.clients {
            Clients::LocalSubnet => BTreeSet::from([Scope::LocalSubnet]),
            Clients::Any => BTreeSet::new(),
        },
        profiles: scope.networks,
    }
}

/// The rule of the Hyper-V firewall.
pub(super) fn hyperv_rule(key: Key, clients: Clients) -> HyperVRule {
    HyperVRule {
        protocol: key.protocol,
        port: key.port,
        local_subnet: clients == Clients::LocalSubnet,
    }
}
