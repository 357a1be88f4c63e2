//! `wslnetd doctor`: looks at every link of the chain from this distro to Windows, and says what to do about what is wrong.
//!
//! A [`Check`] has a name and one function. Each is made of two halves: looking, which may take its time and is cut off, and a
//! pure judgement of what was seen. What several checks need is looked up once ([`scene`]); then all checks run at
//! once, so that the whole takes less than six seconds even if everything hangs. Nothing is changed, no session of the running
//! daemon is touched, and what an ordinary user may not look at is said.

mod asking;
mod clock;
mod companion;
mod config;
mod daemon;
mod finding;
mod interop;
mod sandbox;
mod scene;
mod sockets;
mod systemd;
mod wsl;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use wslnet_console::output::{self, Exit};

use self::asking::Asked;
use self::finding::{Finding, Level};
use self::scene::Scene;
use crate::run::Places;

/// How long the checks may take, after the scene is known.
const PATIENCE: Duration = Duration::from_millis(3500);

/// One link of the chain.
struct Check {
    /// What it is about, one word.
    name: &'static str,
    /// Looks and judges.
    run: fn(&Scene) -> Vec<Finding>,
}

/// All checks, in the order of the chain.
const CHECKS: &[Check] = &[
    Check {
        name: "wsl",
        run: wsl::check,
    },
    Check {
        name: "systemd",
        run: systemd::check,
    },
    Check {
        name: "sandbox",
        run: sandbox::check,
    },
    Check {
        name: "config",
        run: config::check,
    },
    Check {
        name: "sockets",
        run: sockets::check,
    },
    Check {
        name: "companion",
        run: companion::check,
    },
    Check {
        name: "daemon",
        run: daemon::check,
    },
    Check {
        name: "clock",
        run: clock::check,
    },
    Check {
        name: "interop",
        run: interop::check,
    },
];

/// A finding, and what it is about.
#[derive(Debug, Serialize)]
struct Row {
    check: &'static str,
    #[serde(flatten)]
    finding: Finding,
}

/// Runs all checks and prints what they found. The exit code says whether anything fails.
pub(crate) fn run(places: &Places, json: bool) -> anyhow::Result<ExitCode> {
    let scene = Arc::new(Scene::look(places));
    let end = Instant::now() + PATIENCE;
    let asked: Vec<(&Check, Asked<Vec<Finding>>)> = CHECKS
        .iter()
        .map(|check| {
            let (scene, look) = (scene.clone(), check.run);
            (check, Asked::begin(move || look(&scene)))
        })
        .collect();
    let mut rows = Vec::new();
    for (check, asked) in asked {
        let findings = asked.by(end).unwrap_or_else(|| {
            vec![Finding::warn(
                format!("no answer within {PATIENCE:?}"),
                "run `wslnetd doctor` again; if that lasts, `wsl --shutdown` on Windows starts everything anew",
            )]
        });
        let name = check.name;
        rows.extend(findings.into_iter().map(|finding| Row { check: name, finding }));
    }
    if json {
        output::print_json(&rows)?;
    } else {
        output::print(&text(&rows))?;
    }
    let fails = rows.iter().any(|row| row.finding.level == Level::Fail);
    Ok(if fails { Exit::Failure } else { Exit::Ok }.into())
}

fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row { check, finding } in rows {
        text.push_str(&format!(
            "{:<4} {check:<9} {}\n",
            finding.level.word(),
            finding.text
        ));
        if let Some(fix) = &finding.fix {
            text.push_str(&format!("{:14} fix: {fix}\n", ""));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_line_and_its_fix_another() {
        let row = |finding| Row {
            check: "wsl",
            finding,
        };
        let rows = [
            row(Finding::ok("fine")),
            row(Finding::fail("broken\u{1b}[2J", "mend it")),
            row(Finding::skipped("not looked at")),
        ];

        assert_eq!(
            text(&rows),
            "ok   wsl       fine\nfail wsl       broken\u{fffd}[2J\n               fix: mend it\nskip wsl       not looked at\n"
        );
    }

    #[test]
    fn the_whole_takes_less_than_six_seconds_by_its_limits() {
        assert!(PATIENCE + scene::PATIENCE < Duration::from_secs(6));
    }
}
