//! The probe on made-up machines; wslinfo is a small script.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use super::*;

const MICROSOFT: &str = "5.15.167.4-microsoft-standard-WSL2";
const DEBIAN: &str = "6.1.0-28-amd64";

#[test]
fn every_mode_that_wslinfo_names_is_known() {
    for (answer, mode) in [
        ("nat\n", NetworkMode::Nat),
        ("nat", NetworkMode::Nat),
        ("mirrored\n", NetworkMode::Mirrored),
        ("virtioproxy\n", NetworkMode::VirtioProxy),
        ("consomme\n", NetworkMode::VirtioProxy),
        ("bridged\n", NetworkMode::Bridged),
        ("none\n", NetworkMode::None),
        ("wsl1\n", NetworkMode::Wsl1),
        ("quantum\n", NetworkMode::Unknown("quantum".into())),
    ] {
        let machine = Machine::new(MICROSOFT).with_wslinfo(&format!("printf '%s' '{answer}'"));

        assert_eq!(machine.detect(None).unwrap().mode, mode);
    }
}

#[test]
fn wslinfo_is_asked_for_the_mode_and_gets_no_environment() {
    let machine = Machine::new(MICROSOFT)
        .with_wslinfo("[ \"$1\" = --networking-mode ] && [ -z \"$HOME\" ] && echo mirrored");

    assert_eq!(machine.detect(None).unwrap().mode, NetworkMode::Mirrored);
}

#[test]
fn under_wsl_the_configuration_does_not_count() {
    let machine = Machine::new(MICROSOFT).with_wslinfo("echo mirrored");

    let detected = machine.detect(Some("nat")).unwrap();

    assert_eq!(detected.mode, NetworkMode::Mirrored);
    assert_eq!(detected.ignored.as_deref(), Some("nat"));
    assert!(detected.source.contains("wslinfo"));
}

#[test]
fn wsl_without_wslinfo_is_nat() {
    let by_release = Machine::new(MICROSOFT).detect(None).unwrap();
    let machine = Machine::new(DEBIAN);
    fs::create_dir(machine.folder.path().join("WSL")).unwrap();
    let by_folder = machine.detect(None).unwrap();

    assert_eq!(by_release.mode, NetworkMode::Nat);
    assert_eq!(by_folder.mode, NetworkMode::Nat);
}

#[test]
fn outside_wsl_the_mode_must_be_configured() {
    let machine = Machine::new(DEBIAN).with_wslinfo("echo mirrored");

    let missing = machine.probe.detect(None).unwrap_err();
    let right = machine.detect(Some("nat")).unwrap();

    assert!(
        missing.to_string().contains("network-mode = \"nat\""),
        "{missing}"
    );
    assert_eq!(right.mode, NetworkMode::Nat);
    assert_eq!(right.ignored, None);
}

#[test]
fn a_wslinfo_that_hangs_is_killed() {
    for script in ["exec sleep 600", "echo nat; exec sleep 600 >/dev/null"] {
        let mut machine = Machine::new(MICROSOFT).with_wslinfo(script);
        machine.probe.limit = Duration::from_millis(300);
        let start = Instant::now();

        let error = machine.detect(None).unwrap_err();

        assert!(matches!(error, ModeError::TimedOut { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn failures_and_odd_answers_are_errors_and_never_a_mode() {
    let failed = Machine::new(MICROSOFT)
        .with_wslinfo("echo nat; exit 3")
        .detect(None)
        .unwrap_err();
    let silent = Machine::new(MICROSOFT)
        .with_wslinfo("exit 0")
        .detect(None)
        .unwrap_err();
    let binary = Machine::new(MICROSOFT)
        .with_wslinfo("printf '\\377nat'")
        .detect(None)
        .unwrap_err();
    let long = Machine::new(MICROSOFT)
        .with_wslinfo("printf '%300s' nat")
        .detect(None)
        .unwrap_err();

    assert!(matches!(failed, ModeError::Failed { .. }), "{failed}");
    assert!(matches!(silent, ModeError::Answer { .. }), "{silent}");
    assert!(matches!(binary, ModeError::Answer { .. }), "{binary}");
    assert!(matches!(long, ModeError::Answer { .. }), "{long}");
}

#[test]
fn what_wslinfo_complains_about_is_told() {
    let failed = Machine::new(MICROSOFT)
        .with_wslinfo("echo first >&2; printf 'no \\033interop\\n\\n' >&2; exit 3")
        .detect(None)
        .unwrap_err();
    let mut hanging = Machine::new(MICROSOFT).with_wslinfo("echo waiting >&2; exec sleep 600 2>/dev/null");
    hanging.probe.limit = Duration::from_millis(500);
    let hung = hanging.detect(None).unwrap_err();

    let failed = failed.to_string();
    assert!(failed.ends_with(": no \u{fffd}interop"), "{failed}");
    assert!(hung.to_string().ends_with("within 500ms: waiting"), "{hung}");
}

#[test]
fn nothing_is_run_before_somebody_asks() {
    let machine = Machine::new(MICROSOFT).with_wslinfo("exec sleep 600");
    let start = Instant::now();

    let detection = machine.probe.detect(None).unwrap();

    assert!(matches!(detection, Detection::Ask(_)), "{detection:?}");
    assert!(start.elapsed() < machine.probe.limit);
}

#[test]
fn an_unknown_mode_is_safe_to_print() {
    let machine = Machine::new(MICROSOFT).with_wslinfo("printf 'x\\033[2J'");

    let mode = machine.detect(None).unwrap().mode;

    assert!(matches!(mode, NetworkMode::Unknown(_)));
    assert!(!mode.to_string().contains('\x1b'));
}

struct Machine {
    folder: TempDir,
    probe: Probe,
}

impl Machine {
    fn new(osrelease: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("osrelease"), osrelease).unwrap();
        let probe = Probe {
            wslinfo: vec![path("absent"), path("wslinfo")],
            osrelease: path("osrelease"),
            run_wsl: path("WSL"),
            limit: Duration::from_secs(60),
        };
        Self { folder, probe }
    }

    fn with_wslinfo(self, script: &str) -> Self {
        let path = self.folder.path().join("wslinfo");
        // Written by another process: a file that this one ever had open for writing may still be open in a child
        // that another test is about to start, and could not be run ("text file busy").
        let status = Command::new("/bin/sh")
            .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\"", "sh", script])
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn detect(&self, configured: Option<&str>) -> Result<Detected, ModeError> {
        let detection = self
            .probe
            .detect(configured)
            .unwrap_or_else(|error| panic!("{error}"));
        match detection {
            Detection::Known(detected) => Ok(detected),
            Detection::Ask(inquiry) => inquiry.ask(),
        }
    }
}
