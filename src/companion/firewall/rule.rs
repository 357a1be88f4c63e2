//! A rule of Windows Firewall as this program makes them, the texts and numbers in which Windows keeps it, and the way back.
//! Pure.
//!
//! All of ours let something in: inbound, allowed, enabled, without edge traversal (nobody gets in through Teredo), and in
//! [`GROUP`], by which they are known again. What else Windows knows of rules, such as interfaces, we leave at its default.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use wslnet_protocol::Protocol;

use crate::host::{Categories, Category};

/// The group of all our rules, and of nobody else's.
pub const GROUP: &str = "wslnet";
/// `NET_FW_PROFILE2_ALL`.
const ALL_PROFILES: i32 = 0x7fff_ffff;
/// `NET_FW_IP_PROTOCOL_ANY`.
const ANY_PROTOCOL: i32 = 256;
/// What Windows writes for "any" ports and addresses.
const ANY: &str = "*";

/// A rule that lets clients in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What users see, and what it is removed by. Without `|`, and not "all": Windows takes neither.
    pub name: String,
    /// For users who wonder.
    pub description: String,
    /// The full path of the program that accepts the connections; `None` for any.
    pub program: Option<String>,
    /// The short name of the service that accepts them; `None` for any.
    pub service: Option<String>,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The ports of Windows; none means all.
    pub local_ports: BTreeSet<u16>,
    /// To which addresses of Windows; none means all.
    pub local_addresses: BTreeSet<Scope>,
    /// From which addresses; none means all.
    pub remote_addresses: BTreeSet<Scope>,
    /// In networks of which categories.
    pub profiles: Categories,
}

/// Addresses, as rules name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The networks that the machine is in, whichever they are at the moment.
    LocalSubnet,
    /// A network.
    Network {
        /// An address of it; the bits that it leaves open are zero in what Windows gives back.
        address: IpAddr,
        /// How many bits are the network's.
        prefix: u8,
    },
}

/// A rule as Windows keeps it: the properties of `INetFwRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Properties {
    /// `Name`.
    pub name: String,
    /// `Description`.
    pub description: String,
    /// `Grouping`.
    pub grouping: String,
    /// `ApplicationName`.
    pub application: String,
    /// `ServiceName`.
    pub service: String,
    /// `Protocol`: 6 TCP, 17 UDP, 256 any.
    pub protocol: i32,
    /// `LocalPorts`.
    pub local_ports: String,
    /// `LocalAddresses`.
    pub local_addresses: String,
    /// `RemoteAddresses`.
    pub remote_addresses: String,
    /// `Profiles`: 1 domain, 2 private, 4 public.
    pub profiles: i32,
    /// `Direction` is `NET_FW_RULE_DIR_IN`.
    pub inbound: bool,
    /// `Action` is `NET_FW_ACTION_ALLOW`.
    pub allow: bool,
    /// `EdgeTraversal`.
    pub edge_traversal: bool,
    /// `Enabled`.
    pub enabled: bool,
}

impl Rule {
    /// What Windows is to keep.
    pub fn properties(&self) -> Properties {
        Properties {
            name: self.name.clone(),
            description: self.description.clone(),
            grouping: GROUP.to_owned(),
            application: self.program.clone().unwrap_or_default(),
            service: self.service.clone().unwrap_or_default(),
            protocol: number(self.protocol),
            local_ports: list(&self.local_ports),
            local_addresses: list(&self.local_addresses),
            remote_addresses: list(&self.remote_addresses),
            profiles: profiles_number(self.profiles),
            inbound: true,
            allow: true,
            edge_traversal: false,
            enabled: true,
        }
    }

    /// The rule of which these are the properties; `None` if it is not one that this program would make, or could not be
    /// understood, so that it has to be made anew.
    pub fn from_properties(properties: &Properties) -> Option<Self> {
        let is_ours = properties.inbound
            && properties.allow
            && properties.enabled
            && !properties.edge_traversal
            && properties.grouping == GROUP;
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty() && text != ANY);
        is_ours.then(|| {
            Some(Self {
                name: properties.name.clone(),
                description: properties.description.clone(),
                program: text(&properties.application),
                service: text(&properties.service),
                protocol: protocol(properties.protocol)?,
                local_ports: ports(&properties.local_ports)?,
                local_addresses: scopes(&properties.local_addresses)?,
                remote_addresses: scopes(&properties.remote_addresses)?,
                profiles: profiles(properties.profiles),
            })
        })?
    }
}

fn number(protocol: Protocol) -> i32 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}

fn protocol(number: i32) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp]
        .into_iter()
        .find(|protocol| self::number(*protocol) == number)
}

fn bit(category: Category) -> i32 {
    match category {
        Category::Domain => 1,
        Category::Private => 2,
        Category::Public => 4,
    }
}

fn profiles_number(categories: Categories) -> i32 {
    if categories == Categories::ALL {
        return ALL_PROFILES;
    }
    profiles_bits(categories)
}

/// The bits of categories, without those that Windows has for later.
pub(super) fn profiles_bits(categories: Categories) -> i32 {
    categories.iter().map(bit).sum()
}

/// The categories in a number of Windows; bits that it has for later count for nothing.
pub(super) fn profiles(number: i32) -> Categories {
    Category::ALL
        .into_iter()
        .filter(|category| number & bit(*category) != 0)
        .collect()
}

/// Whether a rule, whoever made it, lets something in over this protocol at this port, or at all ports. From where is not looked at.
pub(super) fn lets_in(rule: &Properties, protocol: Protocol, port: Option<u16>) -> bool {
    let fits = rule.protocol == number(protocol) || rule.protocol == ANY_PROTOCOL;
    let Some(ports) = ports(&rule.local_ports) else {
        return false;
    };
    let opens = ports.is_empty() || port.is_some_and(|port| ports.contains(&port));
    rule.enabled && rule.inbound && rule.allow && fits && opens
}

/// Windows takes a list without blanks, and gives `*` back for an empty one.
fn list<T: ToString>(items: &BTreeSet<T>) -> String {
    if items.is_empty() {
        return ANY.to_owned();
    }
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// The items of a list; none for "any".
fn items<T: Ord>(text: &str, item: impl Fn(&str) -> Option<T>) -> Option<BTreeSet<T>> {
    match text.trim() {
        "" | ANY => Some(BTreeSet::new()),
        text => text.split(',').map(|part| item(part.trim())).collect(),
    }
}

fn ports(text: &str) -> Option<BTreeSet<u16>> {
    items(text, |port| port.parse().ok().filter(|port| *port != 0))
}

fn scopes(text: &str) -> Option<BTreeSet<Scope>> {
    items(text, scope)
}

/// Windows gives networks of IPv4 back with a mask, those of IPv6 with a prefix, and a single address of IPv6 as a range.
fn scope(text: &str) -> Option<Scope> {
    if text.eq_ignore_ascii_case("LocalSubnet") {
        return Some(Scope::LocalSubnet);
    }
    let single = |address: IpAddr| Scope::Network {
        address,
        prefix: if address.is_ipv4() { 32 } else { 128 },
    };
    if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.parse().ok()?;
        return (first == last.parse::<IpAddr>().ok()?).then(|| single(first));
    }
    let Some((address, length)) = text.split_once('/') else {
        return text.parse().ok().map(single);
    };
    let address: IpAddr = address.parse().ok()?;
    let prefix = match length.parse::<Ipv4Addr>() {
        Ok(mask) if address.is_ipv4() => prefix_of(mask)?,
        Ok(_) => return None,
        Err(_) => length.parse().ok()?,
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= longest).then_some(Scope::Network { address, prefix })
}

fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    (bits.leading_ones() == bits.count_ones()).then(|| u8::try_from(bits.count_ones()).ok())?
}

impl Scope {
    /// The network of so many bits in which an address is. More bits than the address has are all of them.
    pub fn network(address: IpAddr, prefix: u8) -> Self {
        let (address, prefix) = match address {
            IpAddr::V4(v4) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                (Ipv4Addr::from_bits(v4.to_bits() & mask).into(), prefix)
            }
            IpAddr::V6(v6) => {
                let prefix = prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                (Ipv6Addr::from_bits(v6.to_bits() & mask).into(), prefix)
            }
        };
        Self::Network { address, prefix }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalSubnet => f.write_str("LocalSubnet"),
            Self::Network { address, prefix } => write!(f, "{address}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_windows_is_told_is_this() {
        let told = relay().properties();

        let expected = Properties {
            name: "wslnet relay (TCP)".into(),
            description: "For tests".into(),
            grouping: "wslnet".into(),
            application: r"C:\Program Files\wslnet\wslnet-companion.exe".into(),
            service: String::new(),
            protocol: 6,
            local_ports: "80,443".into(),
            local_addresses: "*".into(),
            remote_addresses: "LocalSubnet,172.20.0.0/20".into(),
            profiles: 3,
            inbound: true,
            allow: true,
            edge_traversal: false,
            enabled: true,
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn it_is_known_again_in_the_words_that_windows_gives_back() {
        let mut told = relay().properties();
        told.remote_addresses = "172.20.0.0/255.255.240.0,localsubnet".into();
        told.local_ports = "443, 80".into();
        told.service = "*".into();

        assert_eq!(Rule::from_properties(&told), Some(relay()));
        for (text, prefix) in [
            ("10.0.0.1", 32),
            ("10.0.0.1/255.255.255.255", 32),
            ("10.0.0.1-10.0.0.1", 32),
        ] {
            let address = "10.0.0.1".parse().unwrap();
            assert_eq!(scope(text), Some(Scope::Network { address, prefix }), "{text}");
        }
        for text in [
            "DHCP",
            "10.0.0.1-10.0.0.9",
            "10.0.0.1/255.0.255.0",
            "::1/255.0.0.0",
            "10.0.0.1/33",
            "::/129",
            "",
        ] {
            assert_eq!(scope(text), None, "{text}");
        }
    }

    #[test]
    fn one_that_somebody_changed_is_none_of_ours() {
        let changes: [fn(&mut Properties); 9] = [
            |p| p.enabled = false,
            |p| p.allow = false,
            |p| p.inbound = false,
            |p| p.edge_traversal = true,
            |p| p.grouping = "else".into(),
            |p| p.protocol = 256,
            |p| p.local_ports = "RPC".into(),
            |p| p.local_ports = "1-65535".into(),
            |p| p.remote_addresses = "DHCP".into(),
        ];
        for change in changes {
            let mut told = relay().properties();
            change(&mut told);
            assert_eq!(Rule::from_properties(&told), None, "{told:?}");
        }
    }

    #[test]
    fn a_network_has_no_bits_of_hosts() {
        for (address, prefix, network) in [
            ("192.0.2.7", 24, "192.0.2.0/24"),
            ("192.0.2.7", 32, "192.0.2.7/32"),
            ("192.0.2.7", 255, "192.0.2.7/32"),
            ("192.0.2.7", 0, "0.0.0.0/0"),
            ("2001:db8::7", 64, "2001:db8::/64"),
            ("2001:db8::7", 0, "::/0"),
        ] {
            let scope = Scope::network(address.parse().unwrap(), prefix);
            assert_eq!(scope.to_string(), network, "{address} {prefix}");
        }
    }

    #[test]
    fn all_profiles_are_one_number_and_any_of_its_bits_is_read() {
        assert_eq!(profiles_number(Categories::ALL), 0x7fff_ffff);
        assert_eq!(profiles(0x7fff_ffff), Categories::ALL);
        assert_eq!(profiles(7), Categories::ALL);
        assert_eq!(profiles(3), Categories::TRUSTED);
        assert_eq!(profiles(4).iter().collect::<Vec<_>>(), [Category::Public]);
    }

    proptest! {
        #[test]
        fn every_rule_survives_the_way_there_and_back(
            ports: BTreeSet<u16>,
            networks in proptest::collection::btree_set((any::<IpAddr>(), 0_u8..=32), 0..4),
            bits in 0_i32..8,
            udp: bool,
            service: bool,
        ) {
            let rule = Rule {
                local_ports: ports.into_iter().filter(|port| *port != 0).collect(),
                remote_addresses: networks.into_iter().map(|(address, prefix)| Scope::Network { address, prefix }).collect(),
                profiles: profiles(bits),
                protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
                service: service.then(|| "iphlpsvc".to_owned()),
                ..relay()
            };

            prop_assert_eq!(Rule::from_properties(&rule.properties()), Some(rule));
        }

        #[test]
        fn no_text_of_others_is_too_strange_to_be_read(text: String) {
            let _ = (ports(&text), scopes(&text));
        }
    }

    fn relay() -> Rule {
        Rule {
            name: "wslnet relay (TCP)".into(),
            description: "For tests".into(),
            program: Some(r"C:\Program Files\wslnet\wslnet-companion.exe".into()),
            service: None,
            protocol: Protocol::Tcp,
            local_ports: [80, 443].into(),
            local_addresses: BTreeSet::new(),
            remote_addresses: [
                Scope::LocalSubnet,
                Scope::Network {
                    address: "172.20.0.0".parse().unwrap(),
                    prefix: 20,
                },
            ]
            .into(),
            profiles: Categories::TRUSTED,
        }
    }
}
