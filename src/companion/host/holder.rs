//! Who holds a port, and whether that is in the way of an address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The most characters of a program's name that are kept.
const IMAGE_LIMIT: usize = 64;

/// A listening TCP socket or a bound UDP socket of this machine and, as far as the system tells, its process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortHolder {
    /// Where it is bound. Wildcards stay wildcards; IPv4 in IPv6 clothes is shown as IPv4.
    pub address: SocketAddr,
    /// The process. With several that share a socket, the one with the lowest id.
    pub pid: Option<u32>,
    /// The file name of the process' program, without its folder: at most 64 characters, fit for a terminal.
    pub image: Option<String>,
}

impl PortHolder {
    /// Whether this socket stands in the way of another one on `address`: see [`holder_of`].
    pub fn is_in_the_way_of(&self, address: SocketAddr) -> bool {
        distance(self.address, address).is_some()
    }
}

/// The socket that is in the way of `address`: one on the same address, else one on the wildcard of its family, else,
/// for an IPv4 address, one on `[::]`, which may well serve IPv4 too (the tables do not tell).
pub fn holder_of(holders: &[PortHolder], address: SocketAddr) -> Option<&PortHolder> {
    holders
        .iter()
        .filter_map(|holder| Some((distance(holder.address, address)?, holder)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, holder)| holder)
}

/// How directly a socket is in the way: 0 is the address itself; `None` means not at all.
fn distance(held: SocketAddr, wanted: SocketAddr) -> Option<u8> {
    if held.port() != wanted.port() {
        return None;
    }
    let wanted = wanted.ip().to_canonical();
    match held.ip() {
        ip if ip == wanted => Some(0),
        ip if ip.is_unspecified() && ip.is_ipv4() == wanted.is_ipv4() => Some(1),
        ip if ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some(2),
        _ => None,
    }
}

/// A program's file name, fit for tables, logs and terminals: its owner chose it.
pub(super) fn image_name(name: &str) -> String {
    wslnet_console::text::clean(name, IMAGE_LIMIT)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    fn held(addresses: &[&str]) -> Vec<PortHolder> {
        addresses
            .iter()
            .map(|a| PortHolder {
                address: a.parse().unwrap(),
                pid: None,
                image: None,
            })
            .collect()
    }

    fn found(holders: &[&str], wanted: &str) -> Option<String> {
        holder_of(&held(holders), wanted.parse().unwrap()).map(|h| h.address.to_string())
    }

    #[test]
    fn the_nearest_listener_is_the_owner() {
        let all = ["[::]:80", "0.0.0.0:80", "192.0.2.1:80"];

        assert_eq!(found(&all, "192.0.2.1:80").as_deref(), Some("192.0.2.1:80"));
        assert_eq!(found(&all, "192.0.2.2:80").as_deref(), Some("0.0.0.0:80"));
        assert_eq!(found(&all[..1], "192.0.2.2:80").as_deref(), Some("[::]:80"));
        assert_eq!(found(&all, "[2001:db8::1]:80").as_deref(), Some("[::]:80"));
    }

    #[test]
    fn being_in_the_way_is_having_an_owner() {
        let holder = &held(&["0.0.0.0:80"])[0];

        assert!(holder.is_in_the_way_of("192.0.2.1:80".parse().unwrap()));
        assert!(!holder.is_in_the_way_of("192.0.2.1:81".parse().unwrap()));
    }

    #[test]
    fn other_ports_addresses_and_families_are_nobodys_business() {
        assert_eq!(found(&["192.0.2.1:81", "0.0.0.0:81"], "192.0.2.1:80"), None);
        assert_eq!(found(&["127.0.0.1:80", "192.0.2.3:80"], "192.0.2.1:80"), None);
        assert_eq!(found(&["0.0.0.0:80"], "[2001:db8::1]:80"), None);
    }

    #[test]
    fn names_cannot_speak_to_a_terminal() {
        assert_eq!(image_name("nginx.exe"), "nginx.exe");
        assert_eq!(image_name("\u{1b}]0;x\u{7}"), "\u{fffd}]0;x\u{fffd}");
        assert_eq!(image_name(&"x".repeat(100)).chars().count(), 64);
    }
}
