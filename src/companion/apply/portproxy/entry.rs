//! The entries of Windows' portproxy, as they stand in the registry. Pure.
//!
//! Below `HKLM\SYSTEM\CurrentControlSet\Services\PortProxy` there is a key for each pair of address families, and in its
//! subkey `tcp` a text value for each entry: `LISTENADDRESS/PORT` = `CONNECTADDRESS/PORT`. Microsoft documents the
//! command that writes them, not the place; PortProxyGUI and reports of forensics agree on it. There is no field for an
//! owner or a comment, hence our [`journal`](super::journal).

use std::net::{IpAddr, SocketAddr};

use wslnet_console::text::clean;

use crate::host::{self, BindError};
use crate::target;

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

    fn between(listen: IpAddr, connect: IpAddr) -> Self {
        match (listen, connect) {
            (IpAddr::V4(_), IpAddr::V4(_)) => Self::V4ToV4,
            (IpAddr::V4(_), IpAddr::V6(_)) => Self::V4ToV6,
            (IpAddr::V6(_), IpAddr::V4(_)) => Self::V6ToV4,
            (IpAddr::V6(_), IpAddr::V6(_)) => Self::V6ToV6,
        }
    }

    fn listens_by_ipv4(self) -> bool {
        match self {
            Self::V4ToV4 | Self::V4ToV6 => true,
            Self::V6ToV4 | Self::V6ToV6 => false,
        }
    }
}

/// An entry as we write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// In which table.
    pub table: Table,
    /// The name of the value.
    pub name: String,
    /// The text of the value.
    pub content: String,
}

impl Entry {
    /// The entry that takes connections at `listen` to `connect`.
    pub fn new(listen: SocketAddr, connect: SocketAddr) -> Self {
        Self {
            table: Table::between(listen.ip(), connect.ip()),
            name: text(listen),
            content: text(connect),
        }
    }
}

/// Whether an entry may be made at all: the last line, whatever the plan says. A wildcard would take Windows' own ports
/// and stop WSL's localhost forwarding; an entry that connects to this machine could reach itself.
///
/// # Errors
/// Which address will not do.
pub fn check(listen: SocketAddr, connect: SocketAddr) -> Result<(), BindError> {
    host::check_network_address(listen.ip())?;
    if target::is_plain_unicast(connect.ip()) {
        Ok(())
    } else {
        Err(BindError::NotConcrete(connect.ip()))
    }
}

/// IPv6 addresses stand without brackets.
fn text(address: SocketAddr) -> String {
    format!("{}/{}", address.ip(), address.port())
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
    /// Whether it stands where `entry` would. The registry does not tell upper case from lower case in names.
    pub fn is_at(&self, entry: &Entry) -> bool {
        self.table == entry.table && self.name.eq_ignore_ascii_case(&entry.name)
    }

    /// Whether it is `entry`.
    pub fn is(&self, entry: &Entry) -> bool {
        self.is_at(entry) && self.content.as_deref() == Some(entry.content.as_str())
    }

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
    fn an_entry_stands_in_the_table_of_its_families() {
        for (listen, connect, table, name, content) in [
            (
                "192.168.1.20:8000",
                "172.20.0.2:80",
                "v4tov4",
                "192.168.1.20/8000",
                "172.20.0.2/80",
            ),
            (
                "[2001:db8::20]:8000",
                "172.20.0.2:80",
                "v6tov4",
                "2001:db8::20/8000",
                "172.20.0.2/80",
            ),
            (
                "192.168.1.20:1",
                "[fd00::2]:80",
                "v4tov6",
                "192.168.1.20/1",
                "fd00::2/80",
            ),
            (
                "[2001:db8::20]:1",
                "[fd00::2]:80",
                "v6tov6",
                "2001:db8::20/1",
                "fd00::2/80",
            ),
        ] {
            let entry = Entry::new(listen.parse().unwrap(), connect.parse().unwrap());

            assert_eq!(
                (entry.table.name(), &*entry.name, &*entry.content),
                (table, name, content)
            );
        }
    }

    #[test]
    fn neither_end_may_be_a_wildcard_or_this_machine() {
        let good = ("192.168.1.20:8000", "172.20.0.2:80");
        let is_allowed =
            |listen: &str, connect: &str| check(listen.parse().unwrap(), connect.parse().unwrap()).is_ok();

        assert!(is_allowed(good.0, good.1));
        for bad in [
            "0.0.0.0:1",
            "[::]:1",
            "127.0.0.1:1",
            "[::1]:1",
            "224.0.0.1:1",
            "[fe80::1]:1",
        ] {
            assert!(!is_allowed(bad, good.1), "{bad}");
            assert!(!is_allowed(good.0, bad), "{bad}");
        }
    }

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
    fn only_the_same_text_at_the_same_place_is_the_same_entry() {
        let entry = Entry::new(
            "[2001:db8::20]:1".parse().unwrap(),
            "172.20.0.2:80".parse().unwrap(),
        );
        let content = Some("172.20.0.2/80");

        assert!(found(Table::V6ToV4, "2001:db8::20/1", content).is(&entry));
        assert!(found(Table::V6ToV4, "2001:DB8::20/1", content).is(&entry));
        assert!(!found(Table::V6ToV6, "2001:db8::20/1", content).is(&entry));
        assert!(!found(Table::V6ToV4, "2001:db8::20/2", content).is(&entry));
        assert!(!found(Table::V6ToV4, "2001:db8::20/1", Some("172.20.0.2/81")).is(&entry));
        assert!(!found(Table::V6ToV4, "2001:db8::20/1", None).is(&entry));
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
