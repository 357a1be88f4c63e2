//! How the daemon comes by the tracepoints without the right to open them: `wslnetd tracepoints` runs before it, as root, opens
//! them, gives them to systemd to keep (sd_pid_notify_with_fds(3), `FDSTORE=1`) and ends. systemd hands the daemon what it keeps, when it
//! starts it.
//!
//! So the daemon's two capabilities stay the only ones that it ever has, and the system call is barred for it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use sd_notify::{NotifyState, listen_fds_with_names, notify, notify_with_fds};

use super::{Key, Kind, cpus, keys, open, tracefs};

/// What each descriptor is called, before what tells it from others.
const NAME: &str = "tracepoint";

/// The name under which systemd keeps one.
fn name((kind, cpu): Key) -> String {
    format!("{NAME}-{}-{cpu}", word(kind))
}

fn key(name: &str) -> Option<Key> {
    let mut parts = name.split('-');
    let (NAME, kind, cpu, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let kind = Kind::ALL.into_iter().find(|known| word(*known) == kind)?;
    Some((kind, cpu.parse().ok()?))
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Listeners => "listeners",
        Kind::Fork => "fork",
        Kind::Exec => "exec",
        Kind::Exit => "exit",
    }
}

/// Opens the tracepoints and gives them to systemd. What it gave before is replaced.
///
/// # Errors
/// When they cannot be opened, or there is no systemd that takes them.
pub(crate) fn give() -> anyhow::Result<()> {
    if !crate::systemd::is_our_manager() {
        bail!("this is for wslnetd.service, whose manager keeps the tracepoints for the daemon");
    }
    let ids = tracefs::ids()?;
    let cpus = cpus::online().context("the processors cannot be listed")?;
    for (kind, cpu) in keys(&cpus) {
        let Some(id) = ids.get(&kind) else { continue };
        let event = open::open(kind, *id, cpu).context("a tracepoint cannot be opened")?;
        let name = name((kind, cpu));
        let forget = [NotifyState::FdStoreRemove, NotifyState::FdName(&name)];
        notify(&forget).context("systemd cannot be told")?;
        // Not mapped yet, it looks to poll(2) as if it was hung up, and systemd would drop it.
        let unpolled = NotifyState::Custom("FDPOLL=0");
        let keep = [NotifyState::FdStore, NotifyState::FdName(&name), unpolled];
        notify_with_fds(&keep, &[event.as_fd()]).context("systemd does not take the tracepoints")?;
    }
    Ok(())
}

/// What systemd hands over; nothing where it has nothing, and at every call but the first.
pub(super) fn take() -> BTreeMap<Key, OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return BTreeMap::new();
    }
    let Ok(handed) = listen_fds_with_names() else {
        return BTreeMap::new();
    };
    let ours = handed.filter_map(|(fd, name)| Some((key(&name)?, fd)));
    // SAFETY: systemd opened these for this process, and here they are taken once.
    ours.map(|(key, fd)| (key, unsafe { OwnedFd::from_raw_fd(fd) }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_tracepoint_it_is_and_others_are_left_alone() {
        for kind in Kind::ALL {
            assert_eq!(key(&name((kind, 12))), Some((kind, 12)));
        }
        for odd in [
            "",
            "stored",
            "tracepoint",
            "tracepoint-fork",
            "tracepoint-fork-x",
            "tracepoint-fork-1-2",
            "a-fork-1",
        ] {
            assert_eq!(key(odd), None, "{odd}");
        }
    }
}
