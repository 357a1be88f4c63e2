//! Which rules an opening comes down to. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

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
        local_addresses: own_addresses(opening),
        remote_addresses: match scope.clients {
            Clients::LocalSubnet => BTreeSet::from([Scope::LocalSubnet]),
            Clients::Any => BTreeSet::new(),
        },
        profiles: scope.networks,
    }
}

/// The rule of the Hyper-V firewall.
pub(super) fn hyperv_rule(key: Key, opening: &Opening, scope: Admitted) -> HyperVRule {
    let network = |(address, prefix): &(IpAddr, u8)| Scope::network(*address, *prefix);
    HyperVRule {
        protocol: key.protocol,
        port: key.port,
        local_addresses: own_addresses(opening),
        remote_addresses: match scope.clients {
            Clients::LocalSubnet => opening.networks.iter().map(network).collect(),
            Clients::Any => BTreeSet::new(),
        },
        profiles: scope.networks,
    }
}

fn own_addresses(opening: &Opening) -> BTreeSet<Scope> {
    let places = opening.listen.iter();
    places.map(|place| Scope::network(place.ip(), u8::MAX)).collect()
}
