//! The entries of Windows' portproxy, as we write them. Pure. There is no field in them for an owner or a comment, hence our
//! [`journal`](super::journal).

use std::net::{IpAddr, SocketAddr};

use crate::host::portproxy::{Found, Table};
use crate::host::{self, BindError};
use crate::target;

impl Table {
    fn between(listen: IpAddr, connect: IpAddr) -> Self {
        match (listen, connect) {
            (IpAddr::V4(_), IpAddr::V4(_)) => Self::V4ToV4,
            (IpAddr::V4(_), IpAddr::V6(_)) => Self::V4ToV6,
            (IpAddr::V6(_), IpAddr::V4(_)) => Self::V6ToV4,
            (IpAddr::V6(_), IpAddr::V6(_)) => Self::V6ToV6,
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

impl Found {
    /// Whether it stands where `entry` would. The registry does not tell upper case from lower case in names.
    pub fn is_at(&self, entry: &Entry) -> bool {
        self.table == entry.table && self.name.eq_ignore_ascii_case(&entry.name)
    }

    /// Whether it is `entry`.
    pub fn is(&self, entry: &Entry) -> bool {
        self.is_at(entry) && self.content.as_deref() == Some(entry.content.as_str())
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

    fn found(table: Table, name: &str, content: Option<&str>) -> Found {
        Found {
            table,
            name: name.to_owned(),
            content: content.map(str::to_owned),
        }
    }
}
