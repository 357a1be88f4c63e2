//! Network interfaces as data, and the questions about them that need no system call.

use std::net::IpAddr;

use super::Category;

/// Windows allows names of 256 characters.
const TEXT_LIMIT: usize = 256;

/// A network interface ("adapter" on Windows) and the addresses on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The name people know it by: `Ethernet`, `vEthernet (WSL)`, `eth0`. Users can change it on Windows.
    pub name: String,
    /// The driver's text on Windows; empty on Linux.
    pub description: String,
    /// What it is known by to those who know networks: its GUID on Windows (`{…}`, in upper case), its name on Linux. Stable for
    /// hardware, new at each boot for the WSL adapter.
    pub adapter: String,
    /// The category of the network that it is in; `None` if that is not known.
    pub category: Option<Category>,
    /// The system's number for it. Not stable over reboots.
    pub index: u32,
    /// Whether it can carry traffic now: switched on and, where that applies, with a cable or peer.
    pub up: bool,
    /// Whether it is the machine talking to itself.
    pub loopback: bool,
    /// Its addresses in order, without IPv6 link-local ones.
    pub addresses: Vec<InterfaceAddress>,
}

/// An address on an interface, with its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// The bits that it shares with its neighbours on the link.
    pub prefix_length: u8,
    /// Whether a listener belongs on it. False while the system still probes for a duplicate (a bind would fail) or has
    /// found one, when the address is about to expire, and for temporary IPv6 addresses: those exist so that
    /// outgoing connections cannot be traced to this machine, and change daily; a service found there would defeat that.
    pub preferred: bool,
}

/// The adapter that joins Windows to the WSL virtual machine in NAT mode, whose address is the default control address.
///
/// By text, because its GUID changes at each boot (microsoft/WSL#6731): driver `Hyper-V Virtual Ethernet Adapter`, name
/// `vEthernet (WSL)` or `vEthernet (WSL (Hyper-V firewall))`. Ubuntu Pro for WSL finds it the same way. It
/// does not exist before the VM's first start, and never on Linux. Of several, one that is up comes first.
pub fn wsl_adapter(interfaces: &[Interface]) -> Option<&Interface> {
    interfaces
        .iter()
        .filter(|i| is_wsl_adapter(i))
        .min_by_key(|i| !i.up)
}

/// Whether this is such an adapter, up or not: a change of WSL's firewall setting can leave one of the other name
/// behind. None of them is a local network.
pub fn is_wsl_adapter(interface: &Interface) -> bool {
    interface.description.contains("Hyper-V Virtual Ethernet Adapter")
        && interface.name.contains("vEthernet (WSL")
}

/// The interface that carries this address.
pub fn interface_of(interfaces: &[Interface], address: IpAddr) -> Option<&Interface> {
    let address = address.to_canonical();
    interfaces
        .iter()
        .find(|i| i.addresses.iter().any(|a| a.address == address))
}

impl InterfaceAddress {
    /// The bits of `ip` that the network leaves open, and the highest value that they can have. `None` when `ip` is
    /// outside the network; a prefix of length 0 names no network and contains nothing.
    pub fn host_part(&self, ip: IpAddr) -> Option<(u128, u128)> {
        let (own, other, bits) = match (self.address, ip) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        };
        let open = u32::checked_sub(bits, self.prefix_length.into()).filter(|open| *open < bits)?;
        let highest = (1u128 << open) - 1;
        (own & !highest == other & !highest).then_some((other & highest, highest))
    }
}

/// An interface's name or description, fit for tables, logs and terminals: on Windows any administrator can choose it.
pub(super) fn interface_text(text: &str) -> String {
    wslnet_console::text::clean(text, TEXT_LIMIT)
}

/// fe80::/10: valid on one link only.
pub(super) fn is_ipv6_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const HYPER_V: &str = "Hyper-V Virtual Ethernet Adapter #2";

    fn interface(name: &str, description: &str, up: bool, addresses: &[(&str, u8)]) -> Interface {
        Interface {
            name: name.into(),
            description: description.into(),
            adapter: String::new(),
            category: None,
            index: 1,
            up,
            loopback: false,
            addresses: addresses.iter().map(|(a, p)| network(a, *p)).collect(),
        }
    }

    fn network(address: &str, prefix_length: u8) -> InterfaceAddress {
        InterfaceAddress {
            address: ip(address),
            prefix_length,
            preferred: true,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_wsl_adapter_is_known_by_name_and_driver_together() {
        let others = [
            interface("Ethernet", "Intel(R) Ethernet", true, &[]),
            interface(
                "vEthernet (Default Switch)",
                "Hyper-V Virtual Ethernet Adapter",
                true,
                &[],
            ),
            interface("vEthernet (WSL)", "Some driver", true, &[]),
        ];
        assert_eq!(wsl_adapter(&others), None);

        for name in ["vEthernet (WSL)", "vEthernet (WSL (Hyper-V firewall))"] {
            let mut interfaces = others.to_vec();
            interfaces.push(interface(name, HYPER_V, true, &[]));
            assert_eq!(wsl_adapter(&interfaces).unwrap().name, name);
        }
    }

    #[test]
    fn a_wsl_adapter_that_is_up_comes_before_a_stale_one() {
        let stale = interface("vEthernet (WSL)", HYPER_V, false, &[]);
        let live = interface("vEthernet (WSL (Hyper-V firewall))", HYPER_V, true, &[]);

        assert_eq!(wsl_adapter(&[stale.clone(), live.clone()]), Some(&live));
        assert_eq!(wsl_adapter(std::slice::from_ref(&stale)), Some(&stale));
        assert!(is_wsl_adapter(&stale) && is_wsl_adapter(&live));
    }

    #[test]
    fn an_address_leads_to_its_interface() {
        let interfaces = [
            interface("a", "", true, &[("192.0.2.1", 24)]),
            interface("b", "", true, &[("198.51.100.1", 24), ("2001:db8::1", 64)]),
        ];

        assert_eq!(interface_of(&interfaces, ip("2001:db8::1")).unwrap().name, "b");
        assert_eq!(
            interface_of(&interfaces, ip("::ffff:192.0.2.1")).unwrap().name,
            "a"
        );
        assert_eq!(interface_of(&interfaces, ip("192.0.2.2")), None);
    }

    #[test]
    fn neighbours_share_the_prefix_and_the_family() {
        for (own, prefix, other, part) in [
            ("172.20.0.1", 20, "172.20.15.255", Some((0xfff, 0xfff))),
            ("172.20.0.1", 20, "172.20.0.0", Some((0, 0xfff))),
            ("172.20.0.1", 20, "172.20.16.0", None),
            (
                "2001:db8::1",
                64,
                "2001:db8::ffff",
                Some((0xffff, u128::from(u64::MAX))),
            ),
            ("2001:db8::1", 64, "2001:db8:0:1::1", None),
            ("203.0.113.9", 32, "203.0.113.9", Some((0, 0))),
            ("203.0.113.9", 32, "203.0.113.8", None),
            ("172.20.0.1", 20, "::ac14:1", None),
            // Senseless prefixes.
            ("192.0.2.1", 0, "192.0.2.1", None),
            ("192.0.2.1", 33, "192.0.2.1", None),
            ("192.0.2.1", 255, "192.0.2.1", None),
            ("2001:db8::1", 129, "2001:db8::1", None),
        ] {
            assert_eq!(
                network(own, prefix).host_part(ip(other)),
                part,
                "{other} in {own}/{prefix}"
            );
        }
    }

    #[test]
    fn names_are_kept_but_cannot_speak_to_a_terminal() {
        assert_eq!(
            interface_text("vEthernet (WSL (Hyper-V firewall))"),
            "vEthernet (WSL (Hyper-V firewall))"
        );
        assert_eq!(interface_text("Wi\u{1b}Fi"), "Wi\u{fffd}Fi");
    }

    proptest! {
        #[test]
        fn a_flipped_bit_matters_within_the_prefix_only(own: u32, prefix in 1_u8..=32, bit in 0_u32..32) {
            let network = network(&Ipv4Addr::from(own).to_string(), prefix);
            let other = Ipv4Addr::from(own ^ (1 << bit));

            prop_assert_eq!(network.host_part(other.into()).is_some(), bit < 32 - u32::from(prefix));
        }

        #[test]
        fn and_so_in_ipv6(own: u128, prefix in 1_u8..=128, bit in 0_u32..128) {
            let network = network(&Ipv6Addr::from(own).to_string(), prefix);
            let other = Ipv6Addr::from(own ^ (1 << bit));

            prop_assert_eq!(network.host_part(other.into()).is_some(), bit < 128 - u32::from(prefix));
        }
    }
}
