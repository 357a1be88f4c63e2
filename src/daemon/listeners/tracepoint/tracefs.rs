//! Where the kernel tells which numbers the tracepoints have: tracefs, which may not be mounted.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::{fs, thread};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::{Kind, Unavailable};

type Ids = BTreeMap<Kind, u64>;

/// Where it is mounted, if it is. The second one is where older systems have it.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The numbers of all tracepoints. Where tracefs is mounted nowhere, it is mounted for a moment where nobody sees it.
///
/// # Errors
/// When one of them is missing, or there is no right to look.
pub(super) fn ids() -> Result<Ids, Unavailable> {
    let unreadable = match in_place() {
        Ok(ids) => return Ok(ids),
        Err(error) => error,
    };
    if unreadable.kind() != io::ErrorKind::NotFound || has_tracepoints() {
        return Err(Unavailable::because("tracefs cannot be read", &unreadable));
    }
    // The namespace of mounts belongs to this one thread and ends with it.
    let mounted = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let nothing = None::<&str>;
        mount(
            nothing,
            "/",
            nothing,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            nothing,
        )?;
        mount(
            Some("tracefs"),
            PLACES[0],
            Some("tracefs"),
            MsFlags::empty(),
            nothing,
        )?;
        in_place()
    });
    let found = mounted
        .join()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
    found.map_err(|error| Unavailable::because("the kernel's tracefs cannot be had", &error))
}

/// Whether tracefs is there, so that what is missing in it is missing in the kernel.
fn has_tracepoints() -> bool {
    PLACES
        .iter()
        .any(|place| Path::new(place).join("events").exists())
}

fn in_place() -> io::Result<Ids> {
    let id = |kind: Kind| Ok((kind, in_any_place(kind)?));
    Kind::ALL.into_iter().map(id).collect()
}

fn in_any_place(kind: Kind) -> io::Result<u64> {
    let mut error = io::Error::from(io::ErrorKind::NotFound);
    for place in PLACES {
        let file = Path::new(place).join("events").join(kind.folder()).join("id");
        match fs::read_to_string(file) {
            Ok(text) => return text.trim().parse().map_err(io::Error::other),
            Err(other) if other.kind() == io::ErrorKind::NotFound => {}
            Err(other) => error = other,
        }
    }
    Err(error)
}
