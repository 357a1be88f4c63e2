#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use wslnet_link::KeyPair;

use super::*;

/// A `wsl.exe` that is this script. Written by another process: a file that this one has just written may be open for
/// writing in a child that another test is starting, and then cannot be run.
fn wsl(script: &str) -> (TempDir, Wsl) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("wsl.exe");
    let status = std::process::Command::new("/bin/sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\"", "sh", script])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let limit = Duration::from_secs(20);
    (place, Wsl { program: path, limit })
}

#[test]
fn the_command_is_a_program_with_its_arguments_and_the_key_comes_by_its_input() {
    let (_place, wsl) = wsl("printf '%s|' \"$@\"; cat; echo complaint >&2");
    let offer = Offer::new(KeyPair::generate().unwrap().public());

    let said = wsl.run("Ubuntu", &["pair", "--stdin"], Some(&offer)).unwrap();

    let mut line = Vec::new();
    wslnet_link::write_line(&mut line, &offer).unwrap();
    let expected = "-d|Ubuntu|-u|root|--exec|/usr/local/bin/wslnetd|pair|--stdin|";
    assert_eq!(said.stdout, [expected.as_bytes(), &line].concat());
    assert_eq!(shown(&said.stderr), ["complaint"]);
}

#[test]
fn a_program_that_hangs_is_killed() {
    let (_place, mut wsl) = wsl("exec sleep 600");
    wsl.limit = Duration::from_millis(300);
    let start = Instant::now();

    let hung = wsl.run("Ubuntu", &["status"], None);

    assert!(matches!(hung, Err(WslError::TimedOut { .. })), "{hung:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_pipe_that_somebody_else_holds_open_does_not_hang_it() {
    let (_place, mut wsl) = wsl("sleep 600 & exit 0");
    wsl.limit = Duration::from_millis(500);

    let hung = wsl.run("Ubuntu", &["status"], None);

    assert!(matches!(hung, Err(WslError::TimedOut { .. })), "{hung:?}");
}

#[test]
fn a_program_that_says_too_much_is_cut_and_one_that_takes_no_input_is_no_fault() {
    let (_place, flood) = wsl("exec 0<&-; head -c 10000000 /dev/zero; exit 3");
    let offer = Offer::new(KeyPair::generate().unwrap().public());

    let said = flood.run("Ubuntu", &["pair"], Some(&offer)).unwrap();

    assert_eq!(said.stdout.len() as u64, OUTPUT_LIMIT);
    assert!(!said.status.success());
}

#[test]
fn what_is_not_there_is_told_with_the_way_to_get_it() {
    let nothing = Wsl::new("/nowhere/wsl.exe".into());

    let error = nothing.run("Ubuntu", &["status"], None).unwrap_err();

    assert!(error.to_string().contains("wsl --install"), "{error}");
}

#[test]
fn complaints_of_old_and_new_wsl_are_read_and_made_harmless() {
    let text = "Es gibt keine Distribution mit dem angegebenen Namen.\r\nFehlercode: Wsl/Service/WSL_E_DISTRO_NOT_FOUND\r\n";
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_mark = [&[0xff, 0xfe], utf16.as_slice()].concat();

    for printed in [text.as_bytes(), &utf16, &with_mark] {
        assert_eq!(
            shown(printed),
            [
                "Es gibt keine Distribution mit dem angegebenen Namen.",
                "Fehlercode: Wsl/Service/WSL_E_DISTRO_NOT_FOUND"
            ]
        );
    }
    assert_eq!(shown(b"\x1b[2J\xff\n\n"), ["\u{fffd}[2J\u{fffd}"]);
    assert_eq!(shown("x\n".repeat(100).as_bytes()).len(), LINES);
    assert!(shown(b"").is_empty());
}

#[test]
fn a_distro_without_the_daemon_is_told_apart() {
    let (_place, without) = wsl(
        "echo '<3>WSL (9) ERROR: CreateProcessCommon:800: execvpe(/usr/local/bin/wslnetd) failed: No such file or directory' >&2; exit 1",
    );
    let (_place2, other) = wsl("echo 'no such distro'; exit 1");

    assert!(
        without
            .run("Ubuntu", &["pair"], None)
            .unwrap()
            .program_is_missing()
    );
    let other = other.run("Ubuntu", &["pair"], None).unwrap();
    assert!(!other.program_is_missing());
    assert!(
        other.complaint().ends_with("no such distro"),
        "{}",
        other.complaint()
    );
}

#[test]
fn why_a_distro_does_not_connect_is_its_daemons_word() {
    let (_place, silent) = wsl(
        r#"echo '{"version":"1","companion":{"state":"connecting","reason":"172.28.0.1:9756 does not answer"}}'"#,
    );
    let (_place2, stopped) = wsl("echo 'wslnetd: error: wslnetd is not running' >&2; exit 1");

    assert_eq!(
        silent.why_not_connected("Ubuntu"),
        "172.28.0.1:9756 does not answer"
    );
    let stopped = stopped.why_not_connected("Ubuntu");
    assert!(stopped.contains("wslnetd is not running"), "{stopped}");
    assert!(
        stopped.contains("-d Ubuntu -u root --exec systemctl enable --now wslnetd"),
        "{stopped}"
    );
}
