//! The entries of portproxy, from the registry.

use std::io;

use super::key::{Access, Info, Key};
use crate::host::portproxy::{Found, Table};

/// Where the four tables are, and IP Helper reads them.
pub(crate) const PORTPROXY: &str = r"SYSTEM\CurrentControlSet\Services\PortProxy";
/// How often a table is read again that changes while it is read.
const ATTEMPTS: usize = 8;

/// For each table the number of its values and the time of its last change; `None` for a key that cannot be read.
pub type Stamp = [Option<Info>; 4];

/// Changes when the entries do.
pub(crate) fn portproxy_stamp() -> Stamp {
    Table::ALL.map(|table| {
        let key = Key::open(&table_key(table), Access::Read).ok()??;
        key.info().ok()
    })
}

/// All entries, over TCP: there are no others. Everybody may read them; a table without entries may have no key.
pub(crate) fn portproxy_entries() -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for table in Table::ALL {
        let Some(key) = Key::open(&table_key(table), Access::Read)? else {
            continue;
        };
        let found = |(name, content)| Found { table, name, content };
        all.extend(values(&key)?.into_iter().map(found));
    }
    Ok(all)
}

/// Where a table is.
pub(crate) fn table_key(table: Table) -> String {
    format!(r"{PORTPROXY}\{}\tcp", table.name())
}

/// The values of a key at one moment: they are read by their numbers, which shift when others come and go.
fn values(key: &Key) -> io::Result<Vec<(String, Option<String>)>> {
    for _ in 0..ATTEMPTS {
        let before = key.info()?;
        let values = key.values()?;
        if key.info()? == before {
            return Ok(values);
        }
    }
    Err(io::Error::other(
        "the entries of portproxy change faster than they can be read",
    ))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn the_machines_own_entries_are_read_or_there_are_none() {
        let before = portproxy_stamp();

        let all = portproxy_entries().unwrap();

        assert!(all.iter().all(|entry| !entry.name.is_empty()), "{all:?}");
        assert_eq!(portproxy_stamp(), before, "reading changes nothing");
    }
}
