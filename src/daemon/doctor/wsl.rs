//! Is this WSL, which one, and how is it connected to the network?

use std::path::PathBuf;
use std::time::Duration;

use super::finding::Finding;
use super::scene::Scene;
use crate::network::{Detected, NetworkMode, is_wsl};
use crate::wsl::Question;

/// How long WSL may take to tell its version.
const LIMIT: Duration = Duration::from_secs(2);

/// What was seen.
struct Seen<'a> {
    is_wsl: bool,
    version: Option<String>,
    mode: &'a Result<Detected, String>,
}

pub(super) fn check(scene: &Scene) -> Vec<Finding> {
    judge(&Seen {
        is_wsl: is_wsl(),
        version: version(),
        mode: &scene.mode,
    })
}

/// Before 2.0 nobody could be asked.
fn version() -> Option<String> {
    let program = ["/usr/bin/wslinfo", "/bin/wslinfo"].map(PathBuf::from);
    let question = Question {
        program: program.into_iter().find(|path| path.exists())?,
        arguments: &["--version"],
        limit: LIMIT,
    };
    question.ask().ok()
}

fn judge(seen: &Seen<'_>) -> Vec<Finding> {
    let version = match (&seen.version, seen.is_wsl) {
        (Some(version), true) => Finding::ok(format!("this is WSL {version}")),
        (None, true) => Finding::ok("this is WSL; it does not tell its version"),
        (_, false) => Finding::warn(
            "this is not WSL",
            "none, if that is meant; outside of WSL `network-mode` and `companion` in the config say what WSL would",
        ),
    };
    let mode = match seen.mode {
        Ok(Detected { mode, source, .. }) => {
            let text = format!("networking mode {mode} ({source})");
            match mode {
                NetworkMode::Nat => Finding::ok(text),
                NetworkMode::Mirrored | NetworkMode::VirtioProxy => {
                    Finding::ok(format!("{text}: Windows has the ports of the distro as its own"))
                }
                NetworkMode::Wsl1 => Finding::fail(text, "run `wsl --set-version NAME 2` on Windows"),
                NetworkMode::Bridged | NetworkMode::None | NetworkMode::Unknown(_) => Finding::fail(
                    format!("{text}: nothing can be exposed in it"),
                    "set `networkingMode=nat` in %UserProfile%\\.wslconfig, then `wsl --shutdown`",
                ),
            }
        }
        Err(error) => Finding::fail(
            format!("the networking mode is not known: {error}"),
            if seen.is_wsl {
                "run `wslinfo --networking-mode`; if it fails, `wsl --update` and `wsl --shutdown` on Windows"
            } else {
                "set `network-mode` in the config"
            },
        ),
    };
    vec![version, mode]
}

#[cfg(test)]
mod tests {
    use super::super::finding::words;
    use super::*;

    fn found(mode: NetworkMode) -> Vec<Finding> {
        let mode = Ok(Detected {
            mode,
            source: "wslinfo".to_owned(),
            ignored: None,
        });
        judge(&Seen {
            is_wsl: true,
            version: Some("2.5.10".to_owned()),
            mode: &mode,
        })
    }

    #[test]
    fn the_mode_counts_and_a_missing_one_fails() {
        let nat = found(NetworkMode::Nat);
        let words = words(&nat);
        assert_eq!(
            words,
            [
                ("ok", "this is WSL 2.5.10"),
                ("ok", "networking mode nat (wslinfo)")
            ]
        );
        assert_eq!(found(NetworkMode::Mirrored)[1].level.word(), "ok");
        for bad in [
            NetworkMode::Wsl1,
            NetworkMode::None,
            NetworkMode::Unknown("x".into()),
        ] {
            assert_eq!(found(bad)[1].level.word(), "fail");
        }
        let silent = judge(&Seen {
            is_wsl: true,
            version: None,
            mode: &Err("wslinfo hangs".to_owned()),
        });
        assert_eq!(silent[1].level.word(), "fail");
    }
}
