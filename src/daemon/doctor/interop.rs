//! Can programs of Windows be started from here, and is the companion's there? Only pairing from the distro needs it. It is not started for
//! that: what lies on a drive of Windows is others' to change, and the doctor is often root. Its version is what the running daemon
//! has heard of it.

use std::fs;
use std::path::PathBuf;

use super::finding::Finding;
use super::scene::Scene;
use crate::network::is_wsl;
use crate::pair::interop::{StartError, find, setting};

/// The entries by which the kernel hands programs of Windows to WSL; newer WSL has one that outlives systemd's own.
const BINFMT: [&str; 2] = [
    "/proc/sys/fs/binfmt_misc/WSLInterop",
    "/proc/sys/fs/binfmt_misc/WSLInterop-late",
];

/// What was seen.
struct Seen {
    is_wsl: bool,
    is_registered: bool,
    /// Whether `/etc/wsl.conf` switches it off.
    is_off: bool,
    program: Result<PathBuf, String>,
}

pub(super) fn check(_: &Scene) -> Vec<Finding> {
    let conf = fs::read_to_string("/etc/wsl.conf").unwrap_or_default();
    let is_registered = BINFMT
        .iter()
        .any(|entry| fs::read_to_string(entry).is_ok_and(|text| text.starts_with("enabled")));
    let is_off =
        setting(&conf, "interop", "enabled").is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let is_wsl = is_wsl();
    let program = find().map_err(|error: StartError| error.to_string());
    judge(&Seen {
        is_wsl,
        is_registered,
        is_off,
        program,
    })
}

fn judge(seen: &Seen) -> Vec<Finding> {
    let by_hand = "pair from Windows: `wslnet-companion pair NAME`";
    if !seen.is_wsl && seen.program.is_err() {
        return vec![Finding::skipped(
            "this is not WSL, so no programs of Windows are started from here",
        )];
    }
    let mut findings = Vec::new();
    if seen.is_wsl {
        findings.push(if seen.is_off {
            Finding::warn(
                "interop is switched off, so `wslnetd pair` cannot start the companion",
                format!("remove `enabled=false` under `[interop]` in /etc/wsl.conf; or {by_hand}"),
            )
        } else if seen.is_registered {
            Finding::ok("programs of Windows can be started from here")
        } else {
            Finding::warn(
                "the kernel does not know how to start programs of Windows: something removed WSLInterop from binfmt_misc",
                format!("`wsl --shutdown` on Windows brings it back; or {by_hand}"),
            )
        });
    }
    findings.push(match &seen.program {
        Ok(program) => Finding::ok(format!("{} is installed", program.display())),
        Err(error) => Finding::warn(error, by_hand),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(seen: &Seen) -> Vec<&'static str> {
        judge(seen).iter().map(|finding| finding.level.word()).collect()
    }

    fn good() -> Seen {
        Seen {
            is_wsl: true,
            is_registered: true,
            is_off: false,
            program: Ok("/mnt/c/Program Files/wslnet/wslnet-companion.exe".into()),
        }
    }

    #[test]
    fn what_is_missing_is_a_warning_because_pairing_works_from_windows_too() {
        assert_eq!(levels(&good()), ["ok", "ok"]);
        let off = Seen {
            is_off: true,
            ..good()
        };
        assert_eq!(levels(&off), ["warn", "ok"]);
        let gone = Seen {
            is_registered: false,
            program: Err("wslnet-companion.exe is not installed".to_owned()),
            ..good()
        };
        assert_eq!(levels(&gone), ["warn", "warn"]);
        let nowhere = Seen {
            is_wsl: false,
            program: Err("the drive of Windows is not at /mnt/c".to_owned()),
            ..good()
        };
        assert_eq!(levels(&nowhere), ["skip"]);
    }
}
