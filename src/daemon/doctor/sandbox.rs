//! Is the daemon really confined, as the kernel sees it? The unit's text is systemd's business; this is what came of it.

use std::fs;

use super::finding::{Finding, Level};
use super::scene::Scene;
use super::systemd::main_pid;

/// `CAP_DAC_READ_SEARCH` and `CAP_SYS_PTRACE` (include/uapi/linux/capability.h).
const CAPABILITIES: u64 = 1 << 2 | 1 << 19;
/// The fewest open files: each bridged connection takes two.
const OPEN_FILES: u64 = 1024;

/// What the kernel says of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Its effective user.
    uid: u32,
    /// What it can do, and what it or anything that it starts can ever do.
    effective: u64,
    bounding: u64,
    no_new_privileges: bool,
    /// Whether a filter of system calls is in force.
    filtered: bool,
    /// How many files it may have open.
    open_files: Option<u64>,
    /// Whether it has mounts of its own; only root may know.
    own_mounts: Option<bool>,
}

pub(super) fn check(_: &Scene) -> Vec<Finding> {
    let Some(pid) = main_pid() else {
        return vec![Finding::skipped(
            "the unit does not run, so there is nothing to look at",
        )];
    };
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let mounts = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own_mounts = mounts(&pid.to_string())
        .zip(mounts("1"))
        .map(|(its, init)| its != init);
    match seen(&read("status"), &read("limits"), own_mounts) {
        Some(seen) => judge(&seen),
        None => vec![Finding::skipped("the process of the unit has just ended")],
    }
}

/// Reads `/proc/PID/status` and `/proc/PID/limits` (proc(5)).
fn seen(status: &str, limits: &str, own_mounts: Option<bool>) -> Option<Seen> {
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let mask = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
    let open_files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    Some(Seen {
        uid: field("Uid")?.split_whitespace().nth(1)?.parse().ok()?,
        effective: mask("CapEff")?,
        bounding: mask("CapBnd")?,
        no_new_privileges: field("NoNewPrivs") == Some("1"),
        filtered: field("Seccomp") == Some("2"),
        open_files,
        own_mounts,
    })
}

fn judge(seen: &Seen) -> Vec<Finding> {
    const UNIT: &str = "install systemd/wslnetd.service again and look for drop-ins with `systemctl cat wslnetd`; then \
                        `sudo systemctl daemon-reload` and `sudo systemctl restart wslnetd`";
    let mut findings = Vec::new();
    if seen.uid == 0 {
        findings.push(Finding::fail("the daemon runs as root", UNIT));
    }
    if seen.bounding & !CAPABILITIES != 0 || !seen.no_new_privileges {
        findings.push(Finding::fail(
            format!(
                "the daemon may get more rights than it needs (capabilities {:x})",
                seen.bounding
            ),
            UNIT,
        ));
    }
    if seen.effective & CAPABILITIES != CAPABILITIES {
        findings.push(Finding::fail(
            "the daemon lacks a capability, so it cannot tell which process of another user listens",
            UNIT,
        ));
    }
    if !seen.filtered {
        findings.push(Finding::warn(
            "no filter of system calls is in force",
            "use a kernel with CONFIG_SECCOMP_FILTER, as WSL's own",
        ));
    }
    match seen.own_mounts {
        Some(true) => {}
        Some(false) => findings.push(Finding::fail("the daemon sees the whole file system", UNIT)),
        None => findings.push(Finding::skipped(
            "only root may look at the daemon's mounts: `sudo wslnetd doctor`",
        )),
    }
    if let Some(files) = seen.open_files.filter(|files| *files < OPEN_FILES) {
        findings.push(Finding::warn(
            format!("the daemon may open {files} files only"),
            UNIT,
        ));
    }
    if findings.iter().all(|finding| finding.level == Level::Skip) {
        let ok = "the daemon runs as a user of its own, with two capabilities, and can get no more";
        findings.insert(0, Finding::ok(ok));
    }
    findings
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::finding::words;
    use super::*;

    const STATUS: &str = "Name:\twslnetd\nUid:\t990\t990\t990\t990\nCapPrm:\t0000000000080004\nCapEff:\t0000000000080004\n\
                          CapBnd:\t0000000000080004\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
                          Max open files            4096                 4096                 files     \n";

    fn good() -> Seen {
        seen(STATUS, LIMITS, Some(true)).unwrap()
    }

    fn levels(seen: &Seen) -> Vec<&'static str> {
        judge(seen).iter().map(|finding| finding.level.word()).collect()
    }

    #[test]
    fn what_the_unit_makes_of_it_is_good() {
        assert_eq!(good().open_files, Some(4096));
        assert_eq!(levels(&good()), ["ok"]);
        let as_user = Seen {
            own_mounts: None,
            ..good()
        };
        assert_eq!(levels(&as_user), ["ok", "skip"]);
    }

    #[test]
    fn each_hole_is_found() {
        let root = seen(&STATUS.replace("990", "0"), LIMITS, Some(true)).unwrap();
        assert_eq!(words(&judge(&root)), [("fail", "the daemon runs as root")]);
        for hole in [
            Seen {
                bounding: u64::MAX,
                ..good()
            },
            Seen {
                no_new_privileges: false,
                ..good()
            },
            Seen {
                effective: 0,
                ..good()
            },
            Seen {
                own_mounts: Some(false),
                ..good()
            },
        ] {
            assert_eq!(levels(&hole), ["fail"], "{hole:?}");
        }
        for weak in [
            Seen {
                filtered: false,
                ..good()
            },
            Seen {
                open_files: Some(256),
                ..good()
            },
        ] {
            assert_eq!(levels(&weak), ["warn"], "{weak:?}");
        }
        assert_eq!(seen("", LIMITS, None), None);
    }
}
