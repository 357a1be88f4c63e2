//! What `scripts/install.sh` does in a folder of a Windows user, where others may have been before. Windows is a folder here, and its
//! programs are scripts.

use std::path::Path;

use crate::bench::{RELEASE, Ran, Release, SystemdDistro, World};

const INSTALL: &str = "/opt/wslnet/scripts/install.sh";
const USERS: &str = "/mnt/c/Users/ann/AppData/Local";
/// Where a link of somebody leads.
const ELSEWHERE: &str = "/etc/elsewhere";
const SAID: &str = "/tmp/said";
/// Tells where `%LOCALAPPDATA%` and `%ProgramFiles%` are, as `cmd.exe /d /u /c set NAME` does.
const CMD: &str = r#"#!/bin/sh
case $5 in LOCALAPPDATA) at='C:\Users\ann\AppData\Local' ;; *) at='C:\Program Files' ;; esac
printf '%s=%s\r\n' "$5" "$at" | iconv -f UTF-8 -t UTF-16LE
"#;
/// Tells who runs it, and from where. It begins as programs of Windows do, and is run by the shell, since nobody else knows it.
const COMPANION: &[u8] =
    b"MZ=1\nid -u >/tmp/said\necho \"$0\" >>/tmp/said\nls \"$(dirname \"$0\")\" >>/tmp/said\nexit 1\n";

/// A distro with a drive of Windows whose user is its `ann`, and with a release.
fn with_drive(world: &World) -> (Release, SystemdDistro) {
    let exe = world.logs().with_file_name("companion.exe");
    std::fs::write(&exe, COMPANION).unwrap();
    let release = Release::new(world, &exe);
    let distro = SystemdDistro::bare(world, &world.new_folder("run-wsl"), &[(release.path(), RELEASE)]);
    distro.run(&["useradd", "--uid", "4321", "ann"]).ok();
    distro.write("/mnt/c/windows/System32/cmd.exe", CMD);
    distro
        .run(&["chmod", "755", "/mnt/c/windows/System32/cmd.exe"])
        .ok();
    distro
        .run(&["mkdir", "-p", USERS, ELSEWHERE, "/mnt/c/Program Files"])
        .ok();
    distro.run(&["chown", "-R", "ann:ann", "/mnt/c/Users/ann"]).ok();
    (release, distro)
}

fn install(distro: &SystemdDistro) -> Ran {
    distro.run_within(60, &[INSTALL])
}

fn listed(distro: &SystemdDistro, folder: &str) -> String {
    distro.run(&["ls", folder]).ok()
}

#[test]
fn what_somebody_has_put_into_the_users_folder_is_neither_used_nor_followed_and_root_runs_nothing_there() {
    let world = World::new();
    let (_release, distro) = with_drive(&world);
    let planted = format!("{USERS}/wslnet-setup");
    distro.run(&["ln", "-s", ELSEWHERE, &planted]).ok();

    let ran = install(&distro);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("Windows' part could not be installed"),
        "{ran:?}"
    );
    let said = distro.run(&["cat", SAID]).ok();
    let said: Vec<&str> = said.lines().collect();
    let [user, program, content] = said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((user, content), ("4321", "wslnet-companion.exe"));
    let room = Path::new(program).parent().unwrap();
    assert_eq!(room.parent(), Some(Path::new(USERS)), "{program}");
    assert_ne!(room, Path::new(&planted));
    assert_eq!(listed(&distro, ELSEWHERE), "");
    assert_eq!(
        listed(&distro, USERS),
        "wslnet-setup\n",
        "its own folder is gone again"
    );
}

/// So WSL shows the drive in a distro whose usual user is root.
#[test]
fn where_the_users_folder_is_roots_and_everybody_may_write_there_root_runs_nothing_either() {
    let world = World::new();
    let (_release, distro) = with_drive(&world);
    distro.run(&["chown", "root:root", USERS]).ok();
    distro.run(&["chmod", "-R", "777", "/mnt/c/Users"]).ok();

    let ran = install(&distro);

    assert_eq!(ran.code, 1, "{ran:?}");
    let said = distro.run(&["cat", SAID]).ok();
    assert_eq!(said.lines().next(), Some("65534"), "{said}");
    assert_eq!(listed(&distro, USERS), "");
}

#[test]
fn a_users_folder_that_leads_off_windows_drives_is_told_of_and_nothing_is_put_there() {
    let world = World::new();
    let (_release, distro) = with_drive(&world);
    distro.run(&["rmdir", USERS]).ok();
    distro.run(&["ln", "-s", ELSEWHERE, USERS]).ok();

    let ran = install(&distro);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("leads to /etc/elsewhere"), "{ran:?}");
    assert_eq!(listed(&distro, ELSEWHERE), "");
    assert_ne!(distro.run(&["test", "-e", SAID]).code, 0);
}
