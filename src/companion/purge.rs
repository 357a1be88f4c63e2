//! What this program leaves on the machine outside of its own folders, and how it is removed again: by the program itself
//! when it starts, should a former run have left anything, and by `wslnet-companion purge` for good.
//!
//! Everything of that kind stands in [`PARTS`], a line each. A part knows by a journal or by marks of its own what is ours; it
//! removes that and nothing else, and works without the running program, without a distro and after any crash.

use std::path::Path;

use crate::apply::portproxy;
use crate::names;
use crate::paths::Paths;

/// One kind of thing that this program leaves on the machine.
struct Part {
    /// What it is, for people; in the plural.
    name: &'static str,
    /// Removes all of it.
    clear: fn(&Paths) -> Cleared,
}

/// All kinds.
const PARTS: &[Part] = &[
    Part {
        name: "portproxy entries",
        clear: |paths| portproxy::clear(&paths.state_dir),
    },
    Part {
        name: "names in the hosts file",
        clear: |paths| paths.hosts.as_deref().map_or_else(Cleared::default, clear_names),
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

fn clear_names(hosts: &Path) -> Cleared {
    let mut cleared = Cleared::default();
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
        } = (part.clear)(paths);
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

/// Removes everything, and says of each part that there was nothing, if that is so.
///
/// # Errors
/// Why something is left, each reason with its part. What was removed is in `told` all the same.
pub(crate) fn everything(paths: &Paths, told: &mut String) -> Result<(), String> {
    clear(paths, told, tell_nothing)
}

/// Removes everything, and says what was removed.
///
/// # Errors
/// The same.
#[cfg(windows)]
pub(crate) fn quietly(paths: &Paths, told: &mut String) -> Result<(), String> {
    clear(paths, told, |_, _| {})
}

fn clear(paths: &Paths, told: &mut String, tell_nothing: impl Fn(&str, &mut String)) -> Result<(), String> {
    let mut reasons = Vec::new();
    for part in PARTS {
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
