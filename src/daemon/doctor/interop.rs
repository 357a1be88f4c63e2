//! Can programs of Windows be started from here, and is the companion's there? Only pairing from the distro needs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::finding::Finding;
use super::scene::Scene;
use crate::network::is_wsl;
use crate::pair::interop::{StartError, find, setting};
use crate::wsl::Question;

/// The entries by which the kernel hands programs of Windows to WSL; newer WSL has one that outlives systemd's own.
const BINFMT: [&str; 2] = [
    "/proc/sys/fs/binfmt_misc/WSLInterop",
    "/proc/sys/fs/binfmt_misc/WSLInterop-late",
];
/// How long the program may take to tell its version.
const LIMIT: Duration = Duration::from_secs(2);

/// What was seen.
struct Seen {
    is_wsl: bool,
    is_registered: bool,
    /// Whether `/etc/wsl.conf` switches it off.
    is_off: bool,
    program: Result<PathBuf, String>,
    /// What the program says of its version, or why it does not run.
    version: Option<Result<String, String>>,
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
    let version = program.as_ref().ok().map(|program| version(program));
    judge(&Seen {
        is_wsl,
        is_registered,
        is_off,
        program,
        version,
    })
}

fn version(program: &Path) -> Result<String, String> {
    let question = Question {
        program: program.to_owned(),
        arguments: &["--version"],
        limit: LIMIT,
    };
    question
        .ask()
        .map_err(|error| wslnet_console::output::chain(&error))
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
    let ours = concat!("wslnet-companion ", env!("CARGO_PKG_VERSION"));
    findings.push(match (&seen.program, &seen.version) {
        (Ok(program), Some(Ok(version))) if version == ours => {
            Finding::ok(format!("{} is {version}", program.display()))
        }
        (Ok(program), Some(Ok(version))) => Finding::warn(
            format!(
                "{} is {version}, and this program {}",
                program.display(),
                env!("CARGO_PKG_VERSION")
            ),
            "install the same release of wslnetd and wslnet-companion",
        ),
        (Ok(program), Some(Err(error))) => {
            Finding::warn(format!("{} does not run: {error}", program.display()), by_hand)
        }
        (Ok(program), None) => Finding::skipped(format!("{} was not started", program.display())),
        (Err(error), _) => Finding::warn(error, by_hand),
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
            version: Some(Ok(format!("wslnet-companion {}", env!("CARGO_PKG_VERSION")))),
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
            version: Some(Err("Exec format error".to_owned())),
            ..good()
        };
        assert_eq!(levels(&gone), ["warn", "warn"]);
        let other = Seen {
            version: Some(Ok("wslnet-companion 9.0.0".to_owned())),
            ..good()
        };
        assert_eq!(levels(&other), ["ok", "warn"]);
        let nowhere = Seen {
            is_wsl: false,
            program: Err("the drive of Windows is not at /mnt/c".to_owned()),
            version: None,
            ..good()
        };
        assert_eq!(levels(&nowhere), ["skip"]);
    }
}
