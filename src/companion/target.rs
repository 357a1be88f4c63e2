//! Which address may be dialled for a distro: the peer of its session, and that only while it is a neighbour in the
//! network of the control port. Asked when a relay is planned and again at every dial, because addresses move.
//!
//! A guest that could choose the target would have Windows, the LAN or a metadata service dialled in its name. The
//! protocol carries no address; this is the second lock, for the day when the peer's address is not what it should be.

use std::net::{IpAddr, SocketAddr};

use crate::host::{Interface, InterfaceAddress, interface_of};

/// Whether `peer` may be dialled, given that the control port listens on `control`.
///
/// # Errors
/// Why not, in one sentence for people.
pub fn permitted(peer: IpAddr, interfaces: &[Interface], control: SocketAddr) -> Result<(), String> {
    let peer = peer.to_canonical();
    let control = control.ip().to_canonical();
    if !is_plain_unicast(peer) {
        return Err(format!("{peer} is no address of a virtual machine"));
    }
    let Some(network) = network_of(interfaces, control) else {
        return Err(format!(
            "{control}, the companion's own address, is not on this machine now"
        ));
    };
    let Some((host, highest)) = network.host_part(peer) else {
        return Err(format!(
            "{peer} is not in the network of the companion's address {control}/{}",
            network.prefix_length
        ));
    };
    // The first and the last address of a network are the network itself and its broadcast (IPv4), or the routers'
    // anycast (IPv6). Networks of one or two addresses have neither (RFC 3021, RFC 6164).
    let is_edge = host == 0 || (peer.is_ipv4() && host == highest);
    if highest > 1 && is_edge {
        return Err(format!("{peer} names the whole network, not one machine"));
    }
    if interface_of(interfaces, peer).is_some() {
        return Err(format!("{peer} is an address of Windows itself"));
    }
    match closer_network(interfaces, network, peer) {
        Some(other) => Err(format!(
            "{peer} is also in the network of `{}`, and Windows might look for it there: change one of the two networks",
            other.name
        )),
        None => Ok(()),
    }
}

/// Neither unspecified, loopback, link-local, multicast nor broadcast.
pub(crate) fn is_plain_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            // 0.0.0.0/8 is "this host on this network"; 240.0.0.0/4 is reserved and holds the broadcast address.
            let first = ip.octets()[0];
            first != 0 && first < 240 && !ip.is_loopback() && !ip.is_link_local() && !ip.is_multicast()
        }
        IpAddr::V6(ip) => {
            !ip.is_unspecified() && !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_multicast()
        }
    }
}

/// The control address with its network.
fn network_of(interfaces: &[Interface], control: IpAddr) -> Option<&InterfaceAddress> {
    let interface = interface_of(interfaces, control)?;
    interface
        .addresses
        .iter()
        .find(|network| network.address == control)
}

/// Another interface, in use, whose network holds the peer and is no wider than the control network: the routing
/// table would prefer it, or toss a coin.
fn closer_network<'a>(
    interfaces: &'a [Interface],
    control: &InterfaceAddress,
    peer: IpAddr,
) -> Option<&'a Interface> {
    interfaces
        .iter()
        .filter(|interface| interface.up)
        .find(|interface| {
            let carries_control = interface.addresses.iter().any(|a| a.address == control.address);
            !carries_control
                && interface
                    .addresses
                    .iter()
                    .any(|a| a.prefix_length >= control.prefix_length && a.host_part(peer).is_some())
        })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_neighbour_of_the_control_port_is_permitted() {
        for (peer, control) in [
            ("172.20.0.2", "172.20.0.1"),
            ("172.20.15.254", "172.20.0.1"),
            ("::ffff:172.20.0.2", "172.20.0.1"),
            ("fd00:1::2", "fd00:1::1"),
            ("10.9.0.1", "10.9.0.0"),
        ] {
            assert_eq!(check(peer, control), Ok(()), "{peer} of {control}");
        }
    }

    #[test]
    fn everything_else_is_refused_and_says_why() {
        for (peer, control, why) in [
            ("172.20.16.1", "172.20.0.1", "not in the network"),
            ("192.168.1.7", "172.20.0.1", "not in the network"),
            ("fd00:1::2", "172.20.0.1", "not in the network"),
            ("172.20.0.1", "172.20.0.1", "Windows itself"),
            ("172.20.0.9", "172.20.0.1", "Windows itself"),
            ("::ffff:172.20.0.1", "172.20.0.1", "Windows itself"),
            ("172.20.0.0", "172.20.0.1", "whole network"),
            ("172.20.15.255", "172.20.0.1", "whole network"),
            ("fd00:1::", "fd00:1::1", "whole network"),
            ("172.20.8.5", "172.20.0.1", "`vpn`"),
            ("172.20.0.2", "172.21.0.1", "not on this machine"),
            ("127.0.0.2", "127.0.0.1", "no address of a virtual machine"),
            ("::1", "::1", "no address of a virtual machine"),
            ("::ffff:127.0.0.1", "127.0.0.1", "no address of a virtual machine"),
            (
                "169.254.169.254",
                "169.254.0.1",
                "no address of a virtual machine",
            ),
            (
                "::ffff:169.254.169.254",
                "172.20.0.1",
                "no address of a virtual machine",
            ),
            ("fe80::2", "172.20.0.1", "no address of a virtual machine"),
            ("224.0.0.1", "172.20.0.1", "no address of a virtual machine"),
            ("ff02::1", "172.20.0.1", "no address of a virtual machine"),
            ("0.0.0.0", "172.20.0.1", "no address of a virtual machine"),
            ("::", "172.20.0.1", "no address of a virtual machine"),
            ("255.255.255.255", "172.20.0.1", "no address of a virtual machine"),
            ("8.8.8.8", "9.0.0.1", "not in the network"),
        ] {
            let refused = check(peer, control).unwrap_err();
            assert!(refused.contains(why), "{peer} of {control}: {refused}");
        }
    }

    #[test]
    fn a_closer_network_matters_only_while_it_is_up() {
        let mut interfaces = machine();
        for interface in interfaces.iter_mut().filter(|i| i.name == "vpn") {
            interface.up = false;
        }

        assert_eq!(
            permitted(
                "172.20.8.5".parse().unwrap(),
                &interfaces,
                "172.20.0.1:9756".parse().unwrap()
            ),
            Ok(())
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_address_but_a_neighbour_is_ever_permitted(
            interfaces in prop::collection::vec(interface(), 1..4),
            control in 0usize..8,
            peer in address(),
        ) {
            let all: Vec<InterfaceAddress> = interfaces.iter().flat_map(|i| i.addresses.clone()).collect();
            let control = all[control % all.len()];

            let answer = permitted(peer, &interfaces, SocketAddr::new(control.address, 9756));

            // Told apart by text instead of masks, so that one mistake cannot hide behind the same one.
            let metadata: [IpAddr; 2] = [Ipv4Addr::new(169, 254, 169, 254).into(), Ipv6Addr::LOCALHOST.into()];
            let peer = peer.to_canonical();
            let own = all.iter().any(|a| a.address == peer);
            // Of several interfaces with the address, any may be meant.
            let neighbour = all
                .iter()
                .filter(|a| a.address == control.address)
                .any(|a| leading_bits(peer, a.prefix_length) == leading_bits(control.address, a.prefix_length));
            if own || !neighbour || metadata.contains(&peer) || peer.is_loopback() || peer.is_multicast() {
                prop_assert!(answer.is_err(), "{peer} for {control:?}");
            }
        }

        #[test]
        fn a_neighbour_that_nothing_speaks_against_is_permitted(last in 2u8..=254, network: u8) {
            let interfaces = [lan("wsl", &[([172, 20, network, 1], 24)])];
            let peer = IpAddr::from([172, 20, network, last]);

            let answer = permitted(peer, &interfaces, SocketAddr::from(([172, 20, network, 1], 9756)));

            prop_assert_eq!(answer, Ok(()));
        }
    }

    /// The first bits as text, with the family in front.
    fn leading_bits(ip: IpAddr, count: u8) -> String {
        let bits = match ip {
            IpAddr::V4(ip) => format!("{:032b}", ip.to_bits()),
            IpAddr::V6(ip) => format!("{:0128b}", ip.to_bits()),
        };
        format!("{} {}", bits.len(), &bits[..bits.len().min(count.into())])
    }

    /// Few values in each place, so that networks overlap and peers hit them.
    fn address() -> impl Strategy<Value = IpAddr> {
        let octet = || {
            prop_oneof![
                Just(0u8),
                Just(1),
                Just(2),
                Just(127),
                Just(128),
                Just(255),
                any::<u8>()
            ]
        };
        let v4 = (
            prop_oneof![Just(10u8), Just(172), Just(169), Just(127), Just(224)],
            octet(),
            octet(),
            octet(),
        )
            .prop_map(|(a, b, c, d)| Ipv4Addr::new(a, if a == 169 { 254 } else { b }, c, d));
        let v6 = (
            prop_oneof![Just(0xfd00u16), Just(0xfe80), Just(0xff02), Just(0)],
            octet(),
            octet(),
        )
            .prop_map(|(a, b, c)| Ipv6Addr::new(a, 0, 0, b.into(), 0, 0, 0, c.into()));
        prop_oneof![
            6 => v4.prop_map(IpAddr::from),
            2 => v6.prop_map(IpAddr::from),
            1 => Just(IpAddr::from([169, 254, 169, 254])),
            1 => octet().prop_map(|d| Ipv4Addr::new(10, 0, 0, d).to_ipv6_mapped().into()),
        ]
    }

    fn interface() -> impl Strategy<Value = Interface> {
        let network =
            (address(), prop_oneof![4 => 8u8..31, 1 => 0u8..=128]).prop_map(|(address, prefix_length)| {
                InterfaceAddress {
                    address: address.to_canonical(),
                    prefix_length,
                    preferred: true,
                }
            });
        (prop::collection::vec(network, 1..3), any::<bool>()).prop_map(|(addresses, up)| Interface {
            name: "x".into(),
            description: String::new(),
            adapter: String::new(),
            category: None,
            index: 1,
            up,
            loopback: false,
            addresses,
        })
    }

    fn lan(name: &str, addresses: &[([u8; 4], u8)]) -> Interface {
        Interface {
            name: name.into(),
            description: String::new(),
            adapter: String::new(),
            category: None,
            index: 1,
            up: true,
            loopback: false,
            addresses: addresses
                .iter()
                .map(|(address, prefix_length)| InterfaceAddress {
                    address: (*address).into(),
                    prefix_length: *prefix_length,
                    preferred: true,
                })
                .collect(),
        }
    }

    fn machine() -> Vec<Interface> {
        let mut wsl = lan(
            "vEthernet (WSL)",
            &[([172, 20, 0, 1], 20), ([10, 9, 0, 0], 31), ([9, 0, 0, 1], 0)],
        );
        wsl.addresses.push(InterfaceAddress {
            address: "fd00:1::1".parse().unwrap(),
            prefix_length: 64,
            preferred: true,
        });
        let mut lo = lan("lo", &[([127, 0, 0, 1], 8)]);
        lo.addresses.push(InterfaceAddress {
            address: Ipv6Addr::LOCALHOST.into(),
            prefix_length: 128,
            preferred: true,
        });
        vec![
            lo,
            wsl,
            lan("Ethernet", &[([192, 168, 1, 20], 24), ([169, 254, 0, 1], 16)]),
            lan("vpn", &[([172, 20, 8, 1], 24)]),
            lan("odd", &[([172, 20, 0, 9], 19)]),
        ]
    }

    fn check(peer: &str, control: &str) -> Result<(), String> {
        permitted(ip(peer), &machine(), SocketAddr::new(ip(control), 9756))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
