//! A rule of the Hyper-V firewall as this program makes them, and the name by which it is known again. Pure.
//!
//! The Hyper-V firewall stands between the network and the virtual machine where that has Windows' own addresses (mirrored mode). A rule
//! names the creator of the machines for which it holds, and ours name WSL: no program of Windows is reachable by one.
//! Windows makes such rules from those of its own firewall that name ports and addresses only, unless a policy
//! (`AllowHostPolicyMerge`) forbids that, and then there are ours. They let in no more than that one: what is not asked for by an
//! address, a network or a category would be open to it.
//!
//! In what words Windows gives addresses back is written nowhere. So nothing is read back but the name, and the name says it all.

use std::collections::BTreeSet;

use ring::digest::{SHA256, digest};
use wslnet_protocol::Protocol;

use super::Scope;
use super::rule::profiles_bits;
use crate::host::Categories;

/// What marks the names of ours.
const PREFIX: &str = "wslnet";
/// How many bytes of a digest are in a name.
const DIGEST: usize = 8;

/// A rule that lets clients in to a port of WSL's virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HyperVRule {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port, not 0.
    pub port: u16,
    /// To which addresses of Windows; none means all.
    pub local_addresses: BTreeSet<Scope>,
    /// From which networks; none means all. Named by their numbers: the documentation knows no word for "the local subnet" here.
    pub remote_addresses: BTreeSet<Scope>,
    /// In networks of which categories.
    pub profiles: Categories,
}

/// A rule of ours that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundHyperVRule {
    /// Its name.
    pub name: String,
    /// Whether it still does what it should: somebody can switch it off, or turn it round.
    pub is_in_force: bool,
}

impl HyperVRule {
    /// Its `InstanceID`, which says all that it does: of where it holds it has a digest.
    pub fn name(&self) -> String {
        let Self {
            protocol,
            port,
            local_addresses,
            remote_addresses,
            profiles,
        } = self;
        let profiles = profiles_bits(*profiles);
        let scope = format!("{profiles} {} {}", list(local_addresses), list(remote_addresses));
        let digest = digest(&SHA256, scope.as_bytes());
        let hex = digest
            .as_ref()
            .iter()
            .take(DIGEST)
            .map(|byte| format!("{byte:02x}"));
        format!("{PREFIX}-{protocol}-{port}-{}", hex.collect::<String>())
    }
}

/// Whether a rule of this name is one of ours. Nothing but the one spelling: what merely resembles a name of ours is somebody else's.
pub fn is_our_hyperv_rule(name: &str) -> bool {
    let mut parts = name.split('-');
    let (prefix, protocol) = (parts.next(), parts.next());
    let (port, digest, more) = (parts.next(), parts.next(), parts.next());
    let is_port = |text: &str| {
        let port = text.parse::<u16>();
        port.is_ok_and(|port| port != 0 && port.to_string() == text)
    };
    let is_digest = |text: &str| {
        let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        text.len() == 2 * DIGEST && text.bytes().all(is_digit)
    };
    prefix == Some(PREFIX)
        && matches!(protocol, Some("tcp" | "udp"))
        && port.is_some_and(is_port)
        && digest.is_some_and(is_digest)
        && more.is_none()
}

fn list(scopes: &BTreeSet<Scope>) -> String {
    let texts: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule() -> HyperVRule {
        HyperVRule {
            protocol: Protocol::Tcp,
            port: 8000,
            local_addresses: [Scope::network(([192, 0, 2, 7]).into(), 32)].into(),
            remote_addresses: [Scope::network(([192, 0, 2, 7]).into(), 24)].into(),
            profiles: Categories::TRUSTED,
        }
    }

    #[test]
    fn rules_that_let_in_something_else_have_other_names() {
        let changes: [fn(&mut HyperVRule); 6] = [
            |_| {},
            |rule| rule.port = 8001,
            |rule| rule.protocol = Protocol::Udp,
            |rule| rule.local_addresses.clear(),
            |rule| rule.remote_addresses.clear(),
            |rule| rule.profiles = Categories::ALL,
        ];
        let name = |change: fn(&mut HyperVRule)| {
            let mut rule = rule();
            change(&mut rule);
            rule.name()
        };

        assert_eq!(
            changes.map(name).into_iter().collect::<BTreeSet<_>>().len(),
            changes.len()
        );
    }

    proptest! {
        #[test]
        fn every_rule_is_known_again_by_its_name(port in 1_u16.., udp: bool, everywhere: bool) {
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            let profiles = if everywhere { Categories::ALL } else { Categories::TRUSTED };
            let rule = HyperVRule { protocol, port, profiles, ..rule() };

            prop_assert!(is_our_hyperv_rule(&rule.name()), "{}", rule.name());
        }
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for name in [
            "wslnet",
            "wslnet-tcp-80",
            "wslnet-tcp-0-0123456789abcdef",
            "wslnet-tcp-080-0123456789abcdef",
            "wslnet-tcp-+80-0123456789abcdef",
            "wslnet-TCP-80-0123456789abcdef",
            "wslnet-tcp-80-0123456789abcdeF",
            "wslnet-tcp-80-0123456789abcde",
            "wslnet-tcp-80-0123456789abcdef-",
            "other-tcp-80-0123456789abcdef",
            "",
        ] {
            assert!(!is_our_hyperv_rule(name), "{name}");
        }
    }
}
