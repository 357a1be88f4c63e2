//! Does systemd run, and the daemon under it?

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::finding::Finding;
use super::scene::Scene;
use crate::wsl::Question;

/// How long systemd may take.
const LIMIT: Duration = Duration::from_secs(2);
/// The longest answer, in bytes.
const ANSWER_BYTES: u64 = 4096;
/// What is asked of it.
const UNITS: &[&str] = &[
    "show",
    "--no-pager",
    "--property=Id,LoadState,UnitFileState,ActiveState,SubState,Result,ExecMainStatus,MainPID",
    "wslnetd.service",
    "wslnetd-engines.socket",
    "wslnetd-hosts.socket",
];
/// `EXIT_NAMESPACE` and `EXIT_SECCOMP` of systemd.exec(5): a part of the sandbox cannot be set up here.
const NO_SANDBOX: [&str; 2] = ["226", "228"];

/// The properties of one unit.
type Unit = BTreeMap<String, String>;

/// What was seen.
struct Seen {
    is_first: bool,
    /// By their names; or why systemd does not tell.
    units: Result<BTreeMap<String, Unit>, String>,
    /// Whether the configuration wants names in the distro's hosts file.
    wants_hosts: bool,
    /// Whether a daemon answers, in a unit or not.
    answers: bool,
}

pub(super) fn check(scene: &Scene) -> Vec<Finding> {
    let first = fs::read_to_string("/proc/1/comm").unwrap_or_default();
    judge(&Seen {
        is_first: first.trim() == "systemd",
        units: units(),
        wants_hosts: scene.config.as_ref().is_ok_and(|config| config.hosts),
        answers: scene.status.is_ok(),
    })
}

/// The process of the unit.
pub(super) fn main_pid() -> Option<u32> {
    let units = units().ok()?;
    let pid = units.get("wslnetd.service")?.get("MainPID")?.parse().ok()?;
    (pid != 0).then_some(pid)
}

fn units() -> Result<BTreeMap<String, Unit>, String> {
    let program = ["/usr/bin/systemctl", "/bin/systemctl"].map(PathBuf::from);
    let program = program.into_iter().find(|path| path.exists());
    let question = Question {
        program: program.ok_or("there is no systemctl")?,
        arguments: UNITS,
        limit: LIMIT,
    };
    let answer = question
        .ask_at_most(ANSWER_BYTES)
        .map_err(|error| wslnet_console::output::chain(&error))?;
    Ok(parse(&answer))
}

/// Blocks of `NAME=VALUE` with an empty line between units.
fn parse(answer: &str) -> BTreeMap<String, Unit> {
    let blocks = answer.split("\n\n").map(|block| {
        let properties = block.lines().filter_map(|line| line.split_once('='));
        properties
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<Unit>()
    });
    let named = blocks.filter_map(|unit| Some((unit.get("Id")?.clone(), unit)));
    named.collect()
}

fn judge(seen: &Seen) -> Vec<Finding> {
    if !seen.is_first {
        return vec![Finding::fail(
            "systemd is not the first process of this distro, so the unit cannot run",
            "put `systemd=true` under `[boot]` in /etc/wsl.conf, then run `wsl --shutdown` on Windows",
        )];
    }
    let units = match &seen.units {
        Ok(units) => units,
        Err(error) => {
            return vec![Finding::warn(
                format!("systemd does not tell of its units: {error}"),
                "try `systemctl status wslnetd`",
            )];
        }
    };
    let nothing = Unit::new();
    let unit = |name: &str| units.get(name).unwrap_or(&nothing);
    let mut findings = service(unit("wslnetd.service"), seen.answers);
    if is(unit("wslnetd.service"), "LoadState", "loaded") {
        findings.extend(socket(
            unit("wslnetd-engines.socket"),
            "wslnetd-engines.socket",
            "containers have no labels",
        ));
        if seen.wants_hosts {
            findings.extend(socket(
                unit("wslnetd-hosts.socket"),
                "wslnetd-hosts.socket",
                "no names come into /etc/hosts, which the config wants",
            ));
        }
    }
    findings
}

fn service(unit: &Unit, answers: bool) -> Vec<Finding> {
    let property = |name: &str| unit.get(name).map_or("", String::as_str);
    if !is(unit, "LoadState", "loaded") {
        return vec![Finding::fail(
            format!("wslnetd.service is not installed ({})", property("LoadState")),
            "install the units as the README says, then `sudo systemctl enable --now wslnetd`",
        )];
    }
    let mut findings = Vec::new();
    if !property("UnitFileState").starts_with("enabled") {
        findings.push(Finding::warn(
            format!(
                "wslnetd.service is {}: it does not start with the distro",
                property("UnitFileState")
            ),
            "sudo systemctl enable wslnetd",
        ));
    }
    let active = property("ActiveState");
    let ended = format!(
        "{active}, {}, exit code {}",
        property("Result"),
        property("ExecMainStatus")
    );
    findings.push(match active {
        "active" | "reloading" => Finding::ok("wslnetd.service runs"),
        _ if NO_SANDBOX.contains(&property("ExecMainStatus")) => Finding::fail(
            format!("wslnetd.service cannot be confined here ({ended})"),
            "`journalctl -u wslnetd` names the line of the unit that this kernel cannot do; take it out by \
             `sudo systemctl edit wslnetd`, and never run the daemon as root instead",
        ),
        _ if answers => Finding::warn(
            format!("a daemon runs outside of wslnetd.service ({ended}), without its confinement"),
            "end it, then `sudo systemctl enable --now wslnetd`",
        ),
        _ => Finding::fail(
            format!("wslnetd.service does not run ({ended})"),
            "sudo systemctl enable --now wslnetd; `journalctl -u wslnetd` says why it ended",
        ),
    });
    findings
}

fn socket(unit: &Unit, name: &str, lost: &str) -> Option<Finding> {
    if is(unit, "ActiveState", "active") {
        return None;
    }
    let fix = format!("sudo systemctl enable --now {name}");
    Some(Finding::warn(format!("{name} does not run: {lost}"), fix))
}

fn is(unit: &Unit, property: &str, value: &str) -> bool {
    unit.get(property).is_some_and(|found| found == value)
}

#[cfg(test)]
mod tests {
    use super::super::finding::words;
    use super::*;

    const GOOD: &str = "MainPID=77\nExecMainStatus=0\nResult=success\nId=wslnetd.service\nLoadState=loaded\nActiveState=active\n\
                        SubState=running\nUnitFileState=enabled\n\nResult=success\nId=wslnetd-engines.socket\nLoadState=loaded\n\
                        ActiveState=active\nSubState=listening\nUnitFileState=enabled\n\nId=wslnetd-hosts.socket\n\
                        LoadState=not-found\nActiveState=inactive\nUnitFileState=";

    fn of(answer: &str, wants_hosts: bool, answers: bool) -> Vec<Finding> {
        judge(&Seen {
            is_first: true,
            units: Ok(parse(answer)),
            wants_hosts,
            answers,
        })
    }

    #[test]
    fn a_running_unit_is_good_and_the_socket_for_hosts_counts_only_if_it_is_wanted() {
        assert_eq!(words(&of(GOOD, false, true)), [("ok", "wslnetd.service runs")]);
        let wanted = of(GOOD, true, true);
        assert_eq!(
            wanted[1].fix.as_deref(),
            Some("sudo systemctl enable --now wslnetd-hosts.socket")
        );
    }

    #[test]
    fn a_unit_that_does_not_run_fails_with_its_cause() {
        let failed = GOOD.replacen("ActiveState=active", "ActiveState=failed", 1);
        let level = |findings: &[Finding]| findings[0].level.word();
        assert_eq!(level(&of(&failed, false, false)), "fail");
        assert_eq!(level(&of(&failed, false, true)), "warn");
        let unconfined = failed.replacen("ExecMainStatus=0", "ExecMainStatus=226", 1);
        assert!(
            of(&unconfined, false, false)[0]
                .text
                .contains("cannot be confined")
        );
        assert!(of("", false, false)[0].text.contains("not installed"));
        let disabled = GOOD.replacen("UnitFileState=enabled", "UnitFileState=disabled", 1);
        assert_eq!(level(&of(&disabled, false, true)), "warn");
    }

    #[test]
    fn without_systemd_nothing_else_is_said() {
        let without = judge(&Seen {
            is_first: false,
            units: Err("no systemctl".to_owned()),
            wants_hosts: true,
            answers: true,
        });
        assert_eq!(without.len(), 1);
        assert!(
            without[0]
                .fix
                .as_deref()
                .is_some_and(|fix| fix.contains("systemd=true"))
        );
    }
}
