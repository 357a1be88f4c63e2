//! A rule of the Hyper-V firewall as this program makes them, and the name by which it is known again. Pure.
//!
//! The Hyper-V firewall stands between the network and the virtual machine where that has Windows' own addresses (mirrored mode). A rule
//! names the creator of the machines for which it holds, and ours name WSL: no program of Windows is reachable by one.
//! Windows makes such rules from those of its own firewall that name ports and addresses only, unless a policy
//! (`AllowHostPolicyMerge`) forbids that, and then there are ours.

use wslnet_protocol::Protocol;

/// What marks the names of ours.
const PREFIX: &str = "wslnet";
/// What marks those that let everybody in.
const ANYBODY: &str = "any";

/// A rule that lets clients in to a port of WSL's virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HyperVRule {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port, not 0.
    pub port: u16,
    /// Whether only clients of the networks that Windows is in are let in.
    pub local_subnet: bool,
}

/// A rule of ours that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundHyperVRule {
    /// Which.
    pub rule: HyperVRule,
    /// Whether it still does what it should: somebody can switch it off, or turn it round.
    pub is_in_force: bool,
}

impl HyperVRule {
    /// Its `InstanceID`, which says all that it does.
    pub fn name(self) -> String {
        let Self {
            protocol,
            port,
            local_subnet,
        } = self;
        if local_subnet {
            format!("{PREFIX}-{protocol}-{port}")
        } else {
            format!("{PREFIX}-{protocol}-{port}-{ANYBODY}")
        }
    }

    /// The rule of ours with this name; `None` if it is none of ours.
    pub fn of_name(name: &str) -> Option<Self> {
        let mut parts = name.split('-').skip(1);
        let protocol = match parts.next()? {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        };
        let rule = Self {
            protocol,
            port: parts.next()?.parse().ok().filter(|port| *port != 0)?,
            local_subnet: parts.next() != Some(ANYBODY),
        };
        // Nothing but the one spelling: what merely resembles a name of ours is somebody else's.
        (rule.name() == name).then_some(rule)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_rule_is_known_again_by_its_name(port in 1_u16.., udp: bool, local_subnet: bool) {
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            let rule = HyperVRule { protocol, port, local_subnet };

            prop_assert_eq!(HyperVRule::of_name(&rule.name()), Some(rule));
        }

        #[test]
        fn a_name_that_is_taken_for_ours_is_one_that_we_give(name in "(wslnet|WslCore)?-?(tcp|udp|TCP)?-?0?[0-9]{0,6}(-any)?-?") {
            if let Some(rule) = HyperVRule::of_name(&name) {
                prop_assert_eq!(rule.name(), name);
            }
        }
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for name in [
            "wslnet",
            "wslnet-tcp-0",
            "wslnet-tcp-080",
            "wslnet-tcp-80-",
            "other-tcp-80",
            "wslnet-tcp-80-any-more",
            "",
        ] {
            assert_eq!(HyperVRule::of_name(name), None, "{name}");
        }
    }
}
