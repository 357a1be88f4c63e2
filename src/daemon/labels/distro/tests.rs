//! The probe on made-up machines; wslpath is a small script.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::time::Instant;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

#[test]
fn wsls_init_is_asked_first() {
    for pid in INIT_PIDS {
        let machine = Machine::new()
            .with_init(pid, INIT, b"A=1\0WSL2_DISTRO_NAME=Ubuntu-24.04\0B=2\0")
            .with_wslpath(r"printf '%s' '\\\\wsl.localhost\\Other\\'");

        let found = machine.probe.distro_name(Some("configured"));

        assert_eq!(found.name.as_deref(), Some("Ubuntu-24.04"));
        assert_eq!(found.source, "WSL2_DISTRO_NAME of WSL's init");
    }
}

#[test]
fn another_second_process_is_not_believed() {
    let environ = b"WSL2_DISTRO_NAME=Forged\0";
    let by_program = Machine::new().with_init(2, "/usr/bin/init", environ);
    let mut by_user = Machine::new().with_init(2, INIT, environ);
    by_user.probe.init_uid += 1;

    for machine in [by_program, by_user] {
        let found = machine.probe.distro_name(Some("debian"));

        assert_eq!(found.name.as_deref(), Some("debian"));
        assert_eq!(found.source, "the configuration");
    }
}

#[test]
fn wslpath_is_asked_next_without_an_environment() {
    let machine = Machine::new()
        .with_init(2, INIT, b"WSL2_DISTRO_NAME=\0")
        .with_wslpath(
            r#"[ "$1" = -w ] && [ "$2" = / ] && [ -z "$HOME" ] && printf "%s\n" "\\\\wsl.localhost\\Debian\\""#,
        );

    let found = machine.probe.distro_name(Some("configured"));

    assert_eq!(found.name.as_deref(), Some("Debian"), "{}", found.source);
    assert!(found.source.ends_with("wslpath -w /"), "{}", found.source);
}

#[test]
fn without_anybody_who_knows_the_reasons_are_told() {
    let mut machine = Machine::new().with_wslpath("exec sleep 600");
    machine.probe.limit = Duration::from_millis(300);
    let start = Instant::now();

    let found = machine.probe.distro_name(Some("a\u{1b}b"));

    assert_eq!(found.name, None);
    for reason in [
        "there is no init of WSL",
        "did not answer within 300ms",
        "the configured name is not one",
    ] {
        assert!(found.source.contains(reason), "{}", found.source);
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn an_environment_that_cannot_be_read_stops_nobody() {
    let machine = Machine::new().with_init(2, INIT, b"");
    let environ = machine.folder.path().join("2/environ");
    fs::remove_file(&environ).unwrap();
    // Opening it waits for a writer, for ever.
    nix::unistd::mkfifo(&environ, nix::sys::stat::Mode::S_IRWXU).unwrap();

    let found = machine.probe.distro_name(Some("debian"));

    assert_eq!(found.name.as_deref(), Some("debian"));
}

#[test]
fn the_name_is_taken_from_a_whole_path_only() {
    assert_eq!(name_in(r"\\wsl.localhost\Ubuntu-24.04\"), Some("Ubuntu-24.04"));
    assert_eq!(name_in(r"\\wsl$\My Distro\"), Some("My Distro"));
    for odd in [
        "",
        r"\\wsl.localhos\",
        r"\\wsl.localhost\",
        r"\\wsl.localhost\\",
        r"\\wsl.localhost\Ubuntu",
        r"\\wsl.localhost\Ubuntu\home\",
        r"\\wsl.localhost\Ubuntu\\",
        r"\\server\share\",
        r"C:\",
        "/",
        "\\\\wsl$\\a\u{202e}b\\",
        "\\\\wsl$\\a\nb\\",
        r"\\wsl$\a:b\",
    ] {
        assert_eq!(name_in(odd), None, "{odd:?}");
    }
    let longest = "n".repeat(NAME_CHARS);
    assert_eq!(name_in(&format!(r"\\wsl$\{longest}\")), Some(longest.as_str()));
    assert_eq!(name_in(&format!(r"\\wsl$\{longest}n\")), None);
}

proptest! {
    #[test]
    fn a_part_of_an_answer_never_gives_a_name(name in "[A-Za-z0-9._ -]{1,30}", share in 0..SHARES.len(), cut in 0_usize..60) {
        prop_assume!(!name.trim().is_empty());
        let path = format!("{}{name}\\", SHARES[share]);
        let part = &path[..cut.min(path.len() - 1)];

        prop_assert_eq!(name_in(&path), Some(name.as_str()));
        prop_assert_eq!(name_in(part), None);
    }

    #[test]
    fn what_is_found_is_printable(path: String) {
        let path = format!(r"\\wsl$\{path}\");

        if let Some(name) = name_in(&path) {
            prop_assert!(!name.chars().any(is_hostile));
        }
    }
}

struct Machine {
    folder: TempDir,
    probe: Probe,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let probe = Probe {
            proc: folder.path().into(),
            init_uid: nix::unistd::geteuid().as_raw(),
            wslpath: vec![folder.path().join("absent"), folder.path().join("wslpath")],
            limit: Duration::from_secs(60),
        };
        Self { folder, probe }
    }

    fn with_init(self, pid: i32, exe: &str, environ: &[u8]) -> Self {
        let process = self.folder.path().join(pid.to_string());
        fs::create_dir(&process).unwrap();
        symlink(exe, process.join("exe")).unwrap();
        fs::write(process.join("environ"), environ).unwrap();
        self
    }

    fn with_wslpath(self, script: &str) -> Self {
        let path = self.folder.path().join("wslpath");
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
}
