//! The entries of portproxy, from the registry.

use windows_registry::{Key, LOCAL_MACHINE};

use crate::host::portproxy::PortProxyEntry;

/// Where IP Helper reads them.
const PORT_PROXY: &str = r"SYSTEM\CurrentControlSet\Services\PortProxy";
/// The kinds, and whether each listens on IPv6.
const KINDS: [(&str, bool); 4] = [
    ("v4tov4", false),
    ("v4tov6", false),
    ("v6tov4", true),
    ("v6tov6", true),
];
/// The most entries of a kind that are looked at.
const MOST: usize = 4096;

/// All entries, over TCP: there are no others. Everybody may read them; what cannot be read is not there.
pub(in crate::host) fn portproxy_entries() -> Vec<PortProxyEntry> {
    let of_kind = |(kind, is_v6): (&str, bool)| {
        // A kind without entries has no key.
        let key = LOCAL_MACHINE.open(format!(r"{PORT_PROXY}\{kind}\tcp")).ok()?;
        Some(entries(&key, is_v6))
    };
    KINDS.into_iter().filter_map(of_kind).flatten().collect()
}

fn entries(key: &Key, is_v6: bool) -> Vec<PortProxyEntry> {
    let Ok(values) = key.values() else {
        return Vec::new();
    };
    let entry = |(listens, value): (String, windows_registry::Value)| PortProxyEntry {
        listens,
        // Another type than text is nobody's entry, though IP Helper may listen for it.
        leads_to: String::try_from(value).unwrap_or_default(),
        is_v6,
    };
    values.take(MOST).map(entry).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use windows_registry::CURRENT_USER;

    use super::*;

    #[test]
    fn values_are_read_as_entries() {
        let path = format!(r"Software\wslnet-test-{}", std::process::id());
        let key = CURRENT_USER.create(&path).unwrap();
        key.set_string("*/8080", "172.20.5.2/80").unwrap();
        key.set_u32("odd", 7).unwrap();

        let mut found = entries(&key, true);
        CURRENT_USER.remove_tree(&path).unwrap();

        found.sort_by(|a, b| a.listens.cmp(&b.listens));
        let entry = |listens: &str, leads_to: &str| PortProxyEntry {
            listens: listens.to_owned(),
            leads_to: leads_to.to_owned(),
            is_v6: true,
        };
        assert_eq!(found, [entry("*/8080", "172.20.5.2/80"), entry("odd", "")]);
    }

    #[test]
    fn the_machines_own_entries_are_read_or_there_are_none() {
        let all = portproxy_entries();

        assert!(all.len() <= KINDS.len() * MOST);
    }
}
