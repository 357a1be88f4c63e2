//! What Windows allows, whoever asks: the ceiling over every distro's wishes. This says yes or no to ports and
//! interface names; what becomes of a forward is for [`crate::plan`] to say.

use std::ops::RangeInclusive;
use std::str::FromStr;

use wslnet_protocol::{Protocol, Reach};

use super::reserved;
use crate::host::{Categories, Category};

/// The companion's own policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The farthest that any forward may go.
    pub reach: Reach,
    /// The ports of Windows that forwards may take, TCP and UDP alike. The reserved ones are refused even if they are in here.
    pub ports: Vec<PortRange>,
    /// Interfaces on which nothing is opened.
    pub exclude_interfaces: Vec<NamePattern>,
    /// In networks of which categories anything is opened.
    pub networks: Categories,
    /// From where clients may come.
    pub clients: Clients,
}

/// From where the clients of forwards may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clients {
    /// From the networks that Windows is in: no router lies between.
    #[default]
    LocalSubnet,
    /// From anywhere.
    Any,
}

/// Why the policy refuses a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Windows uses it itself, for this.
    Reserved(&'static str),
    /// `ports` does not name it.
    NotAllowed,
}

/// Ports as people write them: `8000` or `8000-8099`. Never port 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRange(RangeInclusive<u16>);

/// Names as people write them: upper and lower case are one, and `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl Default for Policy {
    fn default() -> Self {
        Self {
            reach: Reach::Lan,
            ports: vec![PortRange(1..=u16::MAX)],
            exclude_interfaces: Vec::new(),
            networks: Categories::TRUSTED,
            clients: Clients::default(),
        }
    }
}

impl Policy {
    /// Why no forward may have this port of Windows; `None` if one may.
    pub fn refusal(&self, protocol: Protocol, port: u16) -> Option<Refusal> {
        if let Some(what) = reserved::use_of(protocol, port) {
            return Some(Refusal::Reserved(what));
        }
        let allowed = self.ports.iter().any(|range| range.0.contains(&port));
        (!allowed).then_some(Refusal::NotAllowed)
    }

    /// Whether nothing may be opened on the interface of this name.
    pub fn excludes(&self, interface: &str) -> bool {
        self.exclude_interfaces
            .iter()
            .any(|pattern| pattern.matches(interface))
    }

    /// Whether anything may be opened in a network of this category. One of which nothing is known counts as public, as it does
    /// for Windows Firewall.
    pub fn admits(&self, category: Option<Category>) -> bool {
        self.networks.contains(category.unwrap_or(Category::Public))
    }
}

impl FromStr for PortRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err("the range ends before it begins");
        }
        Ok(Self(first..=last))
    }
}

fn port(text: &str) -> Result<u16, &'static str> {
    // `u16::from_str` alone would take a plus sign.
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a port is a number");
    }
    text.parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or("ports go from 1 to 65535")
}

impl NamePattern {
    /// A pattern of this text.
    pub fn new(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    /// Whether the whole name fits.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let mut parts = self.0.split('*');
        // Without a star there is one part, and it must be the whole name.
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        // The leftmost place is the best one for each part between two stars: it leaves the most for the others.
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    /// The list of the design, written a second time on purpose.
    const RESERVED: [u16; 29] = [
        53, 67, 68, 88, 123, 135, 137, 138, 139, 389, 445, 464, 500, 593, 636, 1900, 2179, 3268, 3269, 3389,
        4500, 5353, 5355, 5357, 5358, 5985, 5986, 7680, 47001,
    ];
    /// And what is reserved over UDP besides.
    const RESERVED_UDP: [u16; 7] = [546, 547, 1701, 2177, 3544, 3702, 5050];

    #[test]
    fn of_all_ports_exactly_the_reserved_ones_and_those_outside_the_list_are_refused() {
        let named = policy(&["1-1023", "3389", "8000-8099", "65535"]);
        let everything = Policy::default();

        for (protocol, port) in both().flat_map(|protocol| (1..=u16::MAX).map(move |port| (protocol, port))) {
            let over_udp = protocol == Protocol::Udp && RESERVED_UDP.contains(&port);
            let is_reserved = RESERVED.contains(&port) || over_udp;
            let is_named = port < 1024 || port == 3389 || (8000..8100).contains(&port) || port == 65535;

            assert_eq!(
                matches!(everything.refusal(protocol, port), Some(Refusal::Reserved(_))),
                is_reserved,
                "{protocol} {port}"
            );
            assert_eq!(
                everything.refusal(protocol, port).is_some(),
                is_reserved,
                "{protocol} {port}"
            );
            assert_eq!(
                matches!(named.refusal(protocol, port), Some(Refusal::Reserved(_))),
                is_reserved,
                "{protocol} {port}"
            );
            assert_eq!(
                named.refusal(protocol, port) == Some(Refusal::NotAllowed),
                !is_reserved && !is_named,
                "{protocol} {port}"
            );
        }
    }

    #[test]
    fn port_zero_is_never_allowed() {
        assert!(both().all(|protocol| Policy::default().refusal(protocol, 0) == Some(Refusal::NotAllowed)));
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        let nothing = policy(&[]);

        assert!(both().all(|protocol| (0..=u16::MAX).all(|port| nothing.refusal(protocol, port).is_some())));
    }

    #[test]
    fn ranges_are_read_strictly() {
        for good in ["1", "65535", "1-65535", "80-80"] {
            assert!(good.parse::<PortRange>().is_ok(), "{good}");
        }
        for bad in [
            "", "0", "0-5", "65536", "5-", "-5", "9-8", "+80", " 80", "80 - 90", "1-2-3", "http", "٣",
        ] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_fit_whole_and_in_any_case() {
        for (pattern, name, fits) in [
            ("vEthernet (Default Switch)", "VETHERNET (default switch)", true),
            ("vEthernet", "vEthernet (WSL)", false),
            ("vEthernet*", "vEthernet (WSL)", true),
            ("*vpn*", "Corporate VPN 2", true),
            ("*vpn", "Corporate VPN 2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("**", "x", true),
            ("Straße*", "STRAßE 1", true),
            ("(.+)", "x", false),
        ] {
            assert_eq!(
                NamePattern::new(pattern).matches(name),
                fits,
                "{pattern} on {name}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn patterns_agree_with_the_slow_way(pattern in "[ab*]{0,8}", name in "[ab]{0,8}") {
            prop_assert_eq!(NamePattern::new(&pattern).matches(&name), slow(pattern.as_bytes(), name.as_bytes()));
        }
    }

    /// Tries everything that a star may stand for.
    fn slow(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skip| slow(rest, &name[skip..])),
            Some((byte, rest)) => name.first() == Some(byte) && slow(rest, &name[1..]),
        }
    }

    fn both() -> impl Iterator<Item = Protocol> {
        [Protocol::Tcp, Protocol::Udp].into_iter()
    }

    fn policy(ports: &[&str]) -> Policy {
        Policy {
            ports: ports.iter().map(|range| range.parse().unwrap()).collect(),
            ..Policy::default()
        }
    }
}
