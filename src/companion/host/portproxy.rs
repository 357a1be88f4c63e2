//! The entries of `netsh interface portproxy`, as far as they stand in the way of a port. Read only; the listener of an entry belongs to
//! the service IP Helper, so that the table of sockets names nobody but `svchost.exe`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The most characters of an entry that are shown.
const TEXT_LIMIT: usize = 80;

/// An entry, by what the registry holds of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortProxyEntry {
    /// Where it listens: the name of the registry's value, such as `*/8080`.
    pub listens: String,
    /// Where it leads: its data, such as `172.20.5.2/80`.
    pub leads_to: String,
    /// Whether it listens on IPv6 (`v6tov4`, `v6tov6`).
    pub is_v6: bool,
}

impl PortProxyEntry {
    /// Whether the entry has this address and port, by itself or on all addresses. An entry that names a host and no address is
    /// not looked up.
    pub(super) fn covers(&self, address: SocketAddr) -> bool {
        let Some((ip, port)) = self.listens.rsplit_once('/') else {
            return false;
        };
        if port.parse() != Ok(address.port()) || self.is_v6 != address.is_ipv6() {
            return false;
        }
        // No address means all, and is written as a star.
        ip == "*"
            || ip
                .parse()
                .is_ok_and(|ip: IpAddr| ip.is_unspecified() || ip == address.ip())
    }
}

impl fmt::Display for PortProxyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = |text: &str| wslnet_console::text::clean(text, TEXT_LIMIT);
        write!(f, "{} to {}", clean(&self.listens), clean(&self.leads_to))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn an_entry_has_its_address_or_all_of_its_family() {
        for (listens, is_v6, address, covered) in [
            ("*/8080", false, "192.0.2.1:8080", true),
            ("0.0.0.0/8080", false, "192.0.2.1:8080", true),
            ("192.0.2.1/8080", false, "192.0.2.1:8080", true),
            ("192.0.2.2/8080", false, "192.0.2.1:8080", false),
            ("*/8080", false, "192.0.2.1:8081", false),
            ("*/8080", false, "[2001:db8::1]:8080", false),
            ("*/8080", true, "[2001:db8::1]:8080", true),
            ("::/8080", true, "[2001:db8::1]:8080", true),
            ("2001:db8::1/8080", true, "[2001:db8::1]:8080", true),
            ("localhost/8080", false, "127.0.0.1:8080", false),
            ("*/99999", false, "192.0.2.1:8080", false),
            ("*", false, "192.0.2.1:8080", false),
            ("", false, "192.0.2.1:8080", false),
            ("/", false, "192.0.2.1:8080", false),
        ] {
            let entry = PortProxyEntry {
                listens: listens.to_owned(),
                leads_to: String::new(),
                is_v6,
            };
            assert_eq!(
                entry.covers(address.parse().unwrap()),
                covered,
                "{listens} on {address}"
            );
        }
    }

    #[test]
    fn entries_cannot_speak_to_a_terminal() {
        let entry = PortProxyEntry {
            listens: "*/80\u{1b}[2J".to_owned(),
            leads_to: "x".repeat(1000),
            is_v6: false,
        };

        let shown = entry.to_string();

        assert!(
            shown.starts_with("*/80\u{fffd}[2J to xxx") && shown.chars().count() < 200,
            "{shown}"
        );
    }
}
