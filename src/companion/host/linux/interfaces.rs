//! Interfaces and addresses from two netlink dumps.
//!
//! `getifaddrs` would be shorter, but it gives an address the name of its label instead of its interface, and it
//! hides the flags that tell a usable IPv6 address from a tentative, deprecated or temporary one.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::dump;
use crate::host::interface::{Interface, InterfaceAddress, interface_text};

/// All interfaces of the calling thread's network namespace, with all their addresses.
pub(in crate::host) fn interfaces() -> io::Result<Vec<Interface>> {
    let mut found = BTreeMap::new();
    for row in dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))? {
        if let RouteNetlinkMessage::NewLink(link) = row {
            found.insert(link.header.index, from_link(&link));
        }
    }
    for row in dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
        if let RouteNetlinkMessage::NewAddress(message) = row
            // An interface that came between the two dumps is found next time.
            && let Some(interface) = found.get_mut(&message.header.index)
            && let Some(address) = from_address(&message)
        {
            interface.addresses.push(address);
        }
    }
    Ok(found.into_values().collect())
}

fn from_link(link: &LinkMessage) -> Interface {
    let flags = link.header.flags;
    let name = link
        .attributes
        .iter()
        .find_map(|a| {
            if let LinkAttribute::IfName(name) = a {
                Some(name.as_str())
            } else {
                None
            }
        })
        .unwrap_or_default();
    Interface {
        name: interface_text(name),
        description: String::new(),
        adapter: name.to_owned(),
        category: None,
        index: link.header.index,
        up: flags.contains(LinkFlags::Up | LinkFlags::Running),
        loopback: flags.contains(LinkFlags::Loopback),
        addresses: Vec::new(),
    }
}

fn from_address(message: &AddressMessage) -> Option<InterfaceAddress> {
    if !matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return None;
    }
    // On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL is ours; IPv6 has only the former elsewhere.
    let (mut local, mut address): (Option<IpAddr>, Option<IpAddr>) = (None, None);
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the kernel's list of attributes is open"
        )]
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Flags(all) => flags |= *all,
            _ => {}
        }
    }
    let address = local.or(address)?;
    Some(InterfaceAddress {
        address,
        prefix_length: message.header.prefix_len,
        preferred: is_preferred(address, flags),
    })
}

fn is_preferred(address: IpAddr, flags: AddressFlags) -> bool {
    // The same bit means "temporary" in IPv6 and "not the first of its subnet" in IPv4, which is no fault.
    let temporary = address.is_ipv6() && flags.contains(AddressFlags::Secondary);
    let unfit = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
    !temporary && !flags.intersects(unfit)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use crate::host::linux::namespace::{in_namespace, ip};
    use std::time::{Duration, Instant};

    fn named(name: &str) -> Interface {
        crate::host::interfaces()
            .unwrap()
            .into_iter()
            .find(|i| i.name == name)
            .unwrap()
    }

    fn shown(interface: &Interface) -> Vec<String> {
        interface
            .addresses
            .iter()
            .map(|a| {
                format!(
                    "{}/{}{}",
                    a.address,
                    a.prefix_length,
                    if a.preferred { "" } else { " unfit" }
                )
            })
            .collect()
    }

    #[test]
    fn a_fresh_namespace_has_a_loopback_that_is_down() {
        in_namespace(|| {
            let all = crate::host::interfaces().unwrap();

            let lo = all.iter().find(|i| i.name == "lo").unwrap();
            assert!(lo.loopback && !lo.up && lo.addresses.is_empty());
        });
    }

    #[test]
    fn links_and_addresses_are_followed() {
        in_namespace(|| {
            ip("link add near type veth peer name far");
            assert!(!named("near").up);

            ip("link set near up");
            assert!(!named("near").up, "no carrier: the peer is down");
            ip("link set far up");
            assert!(named("near").up && named("far").up && !named("near").loopback);

            ip("address add 198.51.100.7/24 dev near");
            ip("address add 192.0.2.1/20 dev near label near:alias");
            ip("address add 192.0.2.2/20 dev near");
            ip("address add 203.0.113.1 peer 203.0.113.2/32 dev near");
            ip("address add 2001:db8::1/64 dev near nodad");
            assert_eq!(
                shown(&named("near")),
                [
                    "192.0.2.1/20",
                    "192.0.2.2/20",
                    "198.51.100.7/24",
                    "203.0.113.1/32",
                    "2001:db8::1/64"
                ]
            );

            ip("address flush dev near");
            assert!(named("near").addresses.is_empty());
        });
    }

    #[test]
    fn addresses_that_are_about_to_expire_or_not_yet_checked_are_unfit() {
        in_namespace(|| {
            ip("link add near type veth peer name far");
            ip("link set near up");
            ip("link set far up");
            ip("address add 2001:db8::1/64 dev near nodad preferred_lft 0 valid_lft 1000");
            ip("address add 192.0.2.1/24 dev near preferred_lft 0 valid_lft 1000");
            assert_eq!(
                shown(&named("near")),
                ["192.0.2.1/24 unfit", "2001:db8::1/64 unfit"]
            );
            ip("address flush dev near");

            // Duplicate detection takes a second or two; that first it fails and then succeeds is the point.
            ip("address add 2001:db8::2/64 dev near");
            assert_eq!(shown(&named("near")), ["2001:db8::2/64 unfit"]);
            let deadline = Instant::now() + Duration::from_secs(20);
            while shown(&named("near")) != ["2001:db8::2/64"] {
                assert!(Instant::now() < deadline, "{:?}", shown(&named("near")));
                std::thread::sleep(Duration::from_millis(50));
            }
        });
    }

    #[test]
    fn temporary_is_a_fault_of_ipv6_addresses_only() {
        let (v4, v6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());

        assert!(is_preferred(
            v4,
            AddressFlags::Secondary | AddressFlags::Permanent
        ));
        assert!(is_preferred(
            v6,
            AddressFlags::StablePrivacy | AddressFlags::Managetempaddr
        ));
        assert!(!is_preferred(v6, AddressFlags::Secondary));
        assert!(!is_preferred(v6, AddressFlags::Tentative));
        assert!(!is_preferred(v6, AddressFlags::Dadfailed));
    }

    #[test]
    fn many_addresses_do_not_fit_one_message_and_all_arrive() {
        in_namespace(|| {
            ip("link set lo up");
            let commands: String = (0..1000)
                .map(|n| format!("address add 10.1.{}.{}/32 dev lo\n", n / 250, n % 250 + 1))
                .collect();
            crate::host::linux::namespace::ip_batch(&commands);

            assert_eq!(
                named("lo")
                    .addresses
                    .iter()
                    .filter(|a| a.prefix_length == 32)
                    .count(),
                1000
            );
        });
    }
}
