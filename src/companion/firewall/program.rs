//! The rules that name this program: made once, at install, by an administrator, so that nothing has to be asked for at run time
//! and Windows has no reason to ask the user, or to make the block rules that it makes when nobody may answer.
//!
//! They let in neighbours only (`LocalSubnet`). `clients = "any"` in companion.toml does not widen them: whoever wants clients from
//! behind routers makes a rule for that.

use std::collections::BTreeSet;
use std::path::Path;

use wslnet_protocol::Protocol;

use super::{Changes, Rule, Scope, Store, StoreError, changes, is_port_rule};
use crate::host::Categories;
use crate::purge::Cleared;

/// What is to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installation<'a> {
    /// The program, where it will run from.
    pub program: &'a Path,
    /// The port at which distros find it.
    pub control_port: u16,
    /// In networks of which categories clients of forwards are let in: `networks` of companion.toml.
    pub networks: Categories,
}

/// The rules for a program.
///
/// The one for the control port counts in all profiles, because the WSL adapter's network is public, hidden, and cannot be given
/// another category; so it names the port. It names no address and no interface, since both change at a boot; but the program listens
/// there at the WSL adapter's address and at 127.0.0.1 alone, and speaks to pinned keys only.
pub fn program_rules(installation: Installation<'_>) -> Vec<Rule> {
    let program = installation.program.to_string_lossy();
    let program = program.strip_prefix(r"\\?\").unwrap_or(&program);
    let rule = |name: &str, description: &str, protocol, ports: &[u16], profiles| Rule {
        name: name.to_owned(),
        description: description.to_owned(),
        program: Some(program.to_owned()),
        service: None,
        protocol,
        local_ports: ports.iter().copied().collect(),
        local_addresses: BTreeSet::new(),
        remote_addresses: [Scope::LocalSubnet].into(),
        profiles,
    };
    let (clients, distros) = (
        "Lets the local network reach what listens in WSL",
        "Lets WSL distros reach wslnet-companion, which admits only those whose keys it trusts",
    );
    let networks = installation.networks;
    let control = [installation.control_port];
    vec![
        rule("wslnet relay (TCP)", clients, Protocol::Tcp, &[], networks),
        rule("wslnet relay (UDP)", clients, Protocol::Udp, &[], networks),
        rule(
            "wslnet control port",
            distros,
            Protocol::Tcp,
            &control,
            Categories::ALL,
        ),
    ]
}

/// Brings the rules for the program in line: those of a former installation go. Blocks for some seconds at most.
///
/// # Errors
/// [`StoreError::Denied`] without an administrator's rights. [`StoreError::NotKept`] where Windows' firewall is another one's, as
/// under Wine: everything else of an installation is of use all the same.
pub fn install(store: &Store, installation: Installation<'_>) -> Result<(), StoreError> {
    let wanted = program_rules(installation);
    let mut there = store.ours()?;
    there.retain(|rule| !is_port_rule(&rule.name));
    let Changes { remove, add } = changes(&wanted, &there);
    store.remove(&remove.into_iter().collect::<Vec<_>>())?;
    store.add(&add)
}

/// Removes the rules for the program, for an uninstall. Blocks for some seconds at most.
pub fn remove(store: &Store) -> Cleared {
    clear(store, |name| !is_port_rule(name))
}

/// Removes rules of our group, those whose names `is` takes.
pub(super) fn clear(store: &Store, is: fn(&str) -> bool) -> Cleared {
    let mut names = match store.ours() {
        Ok(there) => there.into_iter().map(|rule| rule.name).collect::<BTreeSet<_>>(),
        // Where there is no firewall's service there are no rules of it in force, and where nothing can be read nothing was made.
        Err(error) => {
            return Cleared {
                left: Some(error.to_string()),
                ..Cleared::default()
            };
        }
    };
    names.retain(|name| is(name));
    if names.is_empty() {
        return Cleared::default();
    }
    let names: Vec<String> = names.into_iter().collect();
    match store.remove(&names) {
        Ok(()) => Cleared {
            removed: names
                .into_iter()
                .map(|name| format!("firewall rule {name}"))
                .collect(),
            ..Cleared::default()
        },
        Err(error) => Cleared {
            left: Some(format!("{error}; rules that may be left: {}", names.join(", "))),
            ..Cleared::default()
        },
    }
}

// They work on the file that stands for Windows Firewall.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::firewall::GROUP;

    fn installation(program: &str) -> Installation<'_> {
        Installation {
            program: Path::new(program),
            control_port: 9756,
            networks: Categories::TRUSTED,
        }
    }

    #[test]
    fn neighbours_in_trusted_networks_are_let_in_and_distros_at_one_port_alone() {
        let rules = program_rules(installation(r"\\?\C:\Program Files\wslnet\wslnet-companion.exe"));

        let lines: Vec<String> = rules
            .iter()
            .map(|rule| {
                let p = rule.properties();
                format!(
                    "{} | {} | {} | {} | {}",
                    p.name, p.protocol, p.local_ports, p.remote_addresses, p.profiles
                )
            })
            .collect();
        assert_eq!(
            lines,
            [
                "wslnet relay (TCP) | 6 | * | LocalSubnet | 3",
                "wslnet relay (UDP) | 17 | * | LocalSubnet | 3",
                "wslnet control port | 6 | 9756 | LocalSubnet | 2147483647",
            ]
        );
        let program = r"C:\Program Files\wslnet\wslnet-companion.exe";
        assert!(rules.iter().all(|rule| rule.program.as_deref() == Some(program)));
        assert!(
            rules
                .iter()
                .all(|rule| !is_port_rule(&rule.name) && !rule.name.contains('|'))
        );
    }

    #[test]
    fn installing_again_moves_the_rules_and_removing_leaves_what_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let foreign = "[[rule]]\nname = \"other\"\ngrouping = \"else\"\nprotocol = 6\n";
        std::fs::write(folder.path().join("firewall-rules.toml"), foreign).unwrap();

        install(&store, installation("/old")).unwrap();
        install(&store, installation("/new")).unwrap();

        let there = store.ours().unwrap();
        assert_eq!(there.len(), 3);
        assert!(
            there
                .iter()
                .all(|rule| rule.application == "/new" && rule.grouping == GROUP)
        );
        let cleared = remove(&store);
        assert_eq!((cleared.removed.len(), cleared.left), (3, None));
        assert_eq!(remove(&store), Cleared::default());
        let text = std::fs::read_to_string(folder.path().join("firewall-rules.toml")).unwrap();
        assert!(text.contains("other"), "{text}");
    }

    #[test]
    fn without_the_right_nothing_happens_and_the_reason_says_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        install(&store, installation("/old")).unwrap();
        let file = folder.path().join("firewall-rules.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("writable = true", "writable = false")).unwrap();

        assert_eq!(install(&store, installation("/new")), Err(StoreError::Denied));
        let left = remove(&store).left.unwrap();
        assert!(
            left.contains("administrator") && left.contains("wslnet relay (TCP)"),
            "{left}"
        );
        assert_eq!(store.ours().unwrap()[0].application, "/old");
    }
}
