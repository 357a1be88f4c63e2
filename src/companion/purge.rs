//! What this program leaves on the machine outside of its own folders, and how it is removed again: by the program itself
//! when it starts, should a former run have left anything, and by `wslnet-companion purge` for good.
//!
//! Everything of that kind stands in [`PARTS`], a line each. A part knows by a journal or by marks of its own what is ours; it
//! removes that and nothing else, and works without the running program, without a distro and after any crash.

use crate::apply::{firewall as shared_ports, portproxy};
use crate::firewall::{self, Store};
use crate::names;
use crate::paths::Paths;

/// One kind of thing that this program leaves on the machine.
struct Part {
    /// What it is, for people; in the plural.
    name: &'static str,
    /// Removes what a former run left, at the next start.
    after_crash: fn(&Paths) -> Cleared,
    /// Removes all of it, whatever the state directory knows.
    clear: fn(&Paths) -> Cleared,
    /// Whether it was made by `install`, and stays until the program is uninstalled.
    installed: bool,
    /// Whether a journal in the state directory says what is ours, so that whoever can write there says what is removed.
    by_journal: bool,
}

/// What the state directory is to a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journals {
    /// What is written there is our own word.
    Count,
    /// Somebody else may have written there: nothing is removed on its word.
    DoNotCount,
}

/// How much is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What the program makes while it runs.
    Run,
    /// That, and what `install` made.
    Installation,
}

/// All kinds.
const PARTS: &[Part] = &[
    Part {
        name: "portproxy entries",
        after_crash: |paths| portproxy::clear(&paths.state_dir),
        clear: |paths| portproxy::clear(&paths.state_dir),
        installed: false,
        by_journal: true,
    },
    // Behind the entries that they let clients reach.
    Part {
        name: "firewall rules for ports",
        after_crash: |paths| firewall::clear_leftovers(&paths.state_dir),
        clear: |paths| firewall::clear_ports(&paths.state_dir),
        installed: false,
        by_journal: false,
    },
    Part {
        name: "firewall rules for ports that WSL shares",
        after_crash: |paths| shared_ports::clear_leftovers(&paths.state_dir),
        clear: |paths| shared_ports::clear(&paths.state_dir),
        installed: false,
        by_journal: false,
    },
    Part {
        name: "names in the hosts file",
        after_crash: clear_names,
        clear: clear_names,
        installed: false,
        by_journal: false,
    },
    Part {
        name: "firewall rules for the program",
        after_crash: |_| Cleared::default(),
        clear: |paths| firewall::remove(&Store::new(&paths.state_dir)),
        installed: true,
        by_journal: false,
    },
];

/// What clearing away came to, in texts for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// What was removed.
    pub removed: Vec<String>,
    /// What stands in the place of something of ours, but is not ours any more: it was left alone.
    pub foreign: Vec<String>,
    /// Why something of ours is still there.
    pub left: Option<String>,
}

fn clear_names(paths: &Paths) -> Cleared {
    let mut cleared = Cleared::default();
    let Some(hosts) = &paths.hosts else {
        return cleared;
    };
    match names::remove(hosts) {
        Ok(true) => cleared.removed.push(format!("the names in {}", hosts.display())),
        Ok(false) => {}
        Err(reason) => cleared.left = Some(reason),
    }
    cleared
}

/// Removes what a former run left behind, before anything new is made. What cannot be removed is told, and stays for the
/// next time.
pub(crate) fn leftovers(paths: &Paths) {
    for part in PARTS {
        let Cleared {
            removed,
            foreign,
            left,
        } = (part.after_crash)(paths);
        if !removed.is_empty() {
            tracing::warn!(
                count = removed.len(),
                "{} of a former run were removed",
                part.name
            );
        }
        for foreign in foreign {
            tracing::warn!(foreign, "left alone, because somebody changed it");
        }
        if let Some(reason) = left {
            tracing::warn!(reason, "{} of a former run are left", part.name);
        }
    }
}

/// Removes everything of that extent, and says of each part that there was nothing, if that is so.
///
/// # Errors
/// Why something is left, each reason with its part. What was removed is in `told` all the same.
pub(crate) fn everything(paths: &Paths, extent: Extent, told: &mut String) -> Result<(), String> {
    clear(paths, extent, Journals::Count, told, tell_nothing)
}

/// Removes everything of that extent, and says what was removed.
///
/// # Errors
/// The same.
pub fn quietly(paths: &Paths, extent: Extent, journals: Journals, told: &mut String) -> Result<(), String> {
    clear(paths, extent, journals, told, |_, _| {})
}

fn clear(
    paths: &Paths,
    extent: Extent,
    journals: Journals,
    told: &mut String,
    tell_nothing: impl Fn(&str, &mut String),
) -> Result<(), String> {
    let mut reasons = Vec::new();
    let is_meant = |part: &&Part| {
        (extent == Extent::Installation || !part.installed)
            && (journals == Journals::Count || !part.by_journal)
    };
    for part in PARTS.iter().filter(is_meant) {
        let cleared = (part.clear)(paths);
        tell(&cleared, told);
        if cleared == Cleared::default() {
            tell_nothing(part.name, told);
        }
        reasons.extend(cleared.left.map(|reason| format!("{}: {reason}", part.name)));
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(reasons.join("; "))
    }
}

fn tell_nothing(name: &str, told: &mut String) {
    told.push_str("nothing to remove: ");
    told.push_str(name);
    told.push('\n');
}

fn tell(cleared: &Cleared, told: &mut String) {
    let mut line = |what: &str, item: &str| {
        told.push_str(what);
        told.push_str(item);
        told.push('\n');
    };
    for item in &cleared.removed {
        line("removed: ", item);
    }
    for item in &cleared.foreign {
        line("left alone, because somebody changed it: ", item);
    }
}

// It works on the file that stands for Windows Firewall.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::firewall::Installation;
    use crate::host::Categories;

    #[test]
    fn a_journal_that_somebody_else_may_have_written_removes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            config: folder.path().join("companion.toml"),
            state_dir: folder.path().to_owned(),
            run_dir: folder.path().to_owned(),
            hosts: None,
        };
        // A journal that is none is an error wherever it is read.
        wslnet_link::replace_state_file(folder.path(), "portproxy.json", b"planted").unwrap();

        let mut told = String::new();
        let refused = quietly(&paths, Extent::Installation, Journals::DoNotCount, &mut told);
        let read = quietly(&paths, Extent::Installation, Journals::Count, &mut told);

        assert_eq!(refused, Ok(()));
        assert!(read.unwrap_err().contains("portproxy entries"));
    }

    #[test]
    fn what_install_made_stays_at_a_start_and_a_purge_and_goes_with_the_installation() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            config: folder.path().join("companion.toml"),
            state_dir: folder.path().to_owned(),
            run_dir: folder.path().to_owned(),
            hosts: None,
        };
        let store = Store::new(folder.path());
        let installation = Installation {
            program: folder.path(),
            control_port: 9756,
            networks: Categories::TRUSTED,
        };
        firewall::install(&store, installation).unwrap();

        leftovers(&paths);
        let mut told = String::new();
        everything(&paths, Extent::Run, &mut told).unwrap();
        assert_eq!(store.ours().unwrap().len(), 3, "{told}");

        everything(&paths, Extent::Installation, &mut told).unwrap();
        assert_eq!(store.ours().unwrap(), []);
        assert!(
            told.contains("removed: firewall rule wslnet control port"),
            "{told}"
        );
    }
}
