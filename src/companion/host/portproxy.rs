//! The entries of Windows' portproxy, everybody's, as they stand in the registry. Pure.
//!
//! Below `HKLM\SYSTEM\CurrentControlSet\Services\PortProxy` there is a key for each pair of address families, and in its
//! subkey `tcp` a text value for each entry: `LISTENADDRESS/PORT` = `CONNECTADDRESS/PORT`. Microsoft documents the
//! command that writes them, not the place; PortProxyGUI and reports of forensics agree on it. The listener of an entry belongs to the
//! service IP Helper, so that the table of sockets names nobody but `svchost.exe`.

use std::net::{IpAddr, SocketAddr};

use wslnet_console::text::clean;

/// How much of others' entries is shown to people, in characters.
const SHOWN: usize = 80;

/// One of the four tables: from which family of addresses to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Listens by IPv4, connects by IPv4.
    V4ToV4,
    /// Listens by IPv4, connects by IPv6.
    V4ToV6,
    /// Listens by IPv6, connects by IPv4.
    V6ToV4,
    /// Listens by IPv6, connects by IPv6.
    V6ToV6,
}

impl Table {
    /// All four.
    pub const ALL: [Self; 4] = [Self::V4ToV4, Self::V4ToV6, Self::V6ToV4, Self::V6ToV6];

    /// The name of its key.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4ToV4 => "v4tov4",
            Self::V4ToV6 => "v4tov6",
            Self::V6ToV4 => "v6tov4",
            Self::V6ToV6 => "v6tov6",
        }
    }

    fn listens_by_ipv4(self) -> bool {
        match self {
            Self::V4ToV4 | Self::V4ToV6 => true,
            Self::V6ToV4 | Self::V6ToV6 => false,
        }
    }
}

/// An entry as it was found, ours or somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// In which table.
    pub table: Table,
    /// The name of the value.
    pub name: String,
    /// Its text; `None` if it is something else than a text, or a very long one.
    pub content: Option<String>,
}

impl Found {
    /// Whether IP Helper, by this entry, would listen at `address`. Names of hosts tell nothing here; whoever listens by
    /// them is in the table of listeners.
    pub fn takes(&self, address: SocketAddr) -> bool {
        let Some((ip, port)) = self.name.rsplit_once('/') else {
            return false;
        };
        if port.parse() != Ok(address.port()) || self.table.listens_by_ipv4() != address.is_ipv4() {
            return false;
        }
        match ip.parse::<IpAddr>() {
            Ok(ip) => ip.is_unspecified() || ip == address.ip(),
            Err(_) => ip == "*" || ip.is_empty(),
        }
    }

    /// For people: where it listens and what it connects to.
    pub fn describe(&self) -> String {
        let content = self.content.as_deref().unwrap_or("something that is no text");
        format!(
            "{} {} -> {}",
            self.table.name(),
            clean(&self.name, SHOWN),
            clean(content, SHOWN)
        )
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn whoever_would_listen_there_is_found_however_it_is_written() {
        let takes = |table, name: &str, address: &str| {
            found(table, name, Some("10.0.0.1/1")).takes(address.parse().unwrap())
        };
        let (v4, v6) = ("192.168.1.20:8000", "[2001:db8::20]:8000");

        for name in ["192.168.1.20/8000", "*/8000", "0.0.0.0/8000", "/8000"] {
            assert!(
                takes(Table::V4ToV4, name, v4) && takes(Table::V4ToV6, name, v4),
                "{name}"
            );
            assert!(!takes(Table::V6ToV4, name, v4), "{name}");
        }
        for name in ["2001:DB8:0::20/8000", "*/8000", "::/8000"] {
            assert!(takes(Table::V6ToV4, name, v6), "{name}");
        }
        for name in [
            "192.168.1.21/8000",
            "192.168.1.20/8001",
            "printer/8000",
            "8000",
            "",
            "*/x",
            "\u{1b}[2J/8000",
        ] {
            assert!(!takes(Table::V4ToV4, name, v4), "{name}");
        }
    }

    #[test]
    fn others_entries_are_shown_without_their_control_characters() {
        let text = found(Table::V4ToV4, "\u{1b}[2J", Some(&"x".repeat(10_000))).describe();

        assert!(
            !text.contains('\u{1b}') && text.chars().count() < 3 * SHOWN,
            "{text}"
        );
    }

    fn found(table: Table, name: &str, content: Option<&str>) -> Found {
        Found {
            table,
            name: name.to_owned(),
            content: content.map(str::to_owned),
        }
    }
}
