//! `scripts/install.sh` and `scripts/uninstall.sh` in a distro, as far as they go without Windows.

use std::collections::BTreeSet;
use std::path::Path;

use crate::bench::{
    Companion, RELEASE, Ran, Release, SOON, SystemdDistro, WINDOWS, World, check, eventually,
};

use super::{CONFIG, WEB};

const INSTALL: &str = "/opt/wslnet/scripts/install.sh";
const UNINSTALL: &str = "/opt/wslnet/scripts/uninstall.sh";
const PROGRAM: &str = "/usr/local/bin/wslnetd";
const CONFIG_FILE: &str = "/etc/wslnetd/config.toml";
const HAND_WRITTEN: &str = "/etc/systemd/system/wslnetd.service.d/mine.conf";

/// A distro without the daemon, and a release for it. Its program for Windows is none: nothing here starts it.
fn bare(world: &World) -> (Release, SystemdDistro) {
    let exe = world.logs().with_file_name("companion.exe");
    std::fs::write(&exe, "MZ and nothing else").unwrap();
    let release = Release::new(world, &exe);
    let distro = SystemdDistro::bare(world, &world.new_folder("run-wsl"), &[(release.path(), RELEASE)]);
    (release, distro)
}

fn install(distro: &SystemdDistro) -> Ran {
    distro.run(&[INSTALL, "--linux-only"])
}

/// Everything in the distro that could be left behind, but for what systemd itself writes as time goes by.
pub(crate) fn traces(distro: &SystemdDistro) -> BTreeSet<String> {
    let systemds = ["/var/log/", "/var/lib/systemd/", "/var/cache/", "/var/tmp/"];
    let script = "find /run -path '/run/systemd/*' -prune -o -path /run/log -prune -o -path '/run/udev/*' -prune -o \
                  -path '/run/user/*' -prune -o -path /run/credentials -prune -o -print;\
                  systemctl --no-pager --plain --no-legend list-unit-files | sed 's/^/unit file: /';\
                  systemctl --no-pager --plain --no-legend list-units --all 'wslnet*' | sed 's/^/unit: /';\
                  sed 's/^/user or group: /' /etc/passwd /etc/group /etc/shadow /etc/gshadow; sed 's/^/host: /' /etc/hosts";
    let seen = distro.run(&["/bin/sh", "-c", script]).ok();
    let on_disk = distro.changed_paths();
    let on_disk = on_disk
        .iter()
        .filter(|path| !systemds.iter().any(|folder| path.starts_with(folder)));
    seen.lines().map(str::to_owned).chain(on_disk.cloned()).collect()
}

/// What is there now and was not before, and what was and is not. The files of the accounts are rewritten: their lines
/// count.
#[track_caller]
pub(crate) fn assert_same(before: &BTreeSet<String>, after: &BTreeSet<String>) {
    let of_accounts = [
        "passwd",
        "passwd-",
        "group",
        "group-",
        "shadow",
        "shadow-",
        "gshadow",
        "gshadow-",
        ".pwd.lock",
        "subuid",
        "subgid",
        "subuid-",
        "subgid-",
    ];
    let changed: Vec<&String> = before
        .symmetric_difference(after)
        .filter(|path| {
            let name = path.strip_prefix("/etc/").unwrap_or_default();
            !of_accounts.contains(&name)
        })
        .collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

fn connected(distro: &SystemdDistro) {
    eventually(SOON, || {
        let status = distro.status()?;
        check(status["companion"]["state"] == "connected", || status.to_string())
    });
}

#[test]
fn a_fresh_installation_runs_and_its_removal_leaves_nothing() {
    let world = World::new();
    let (_release, distro) = bare(&world);
    distro.write("/etc/tmpfiles.d/mine.conf", "# mine\n");
    let before = traces(&distro);

    let installed = install(&distro);

    let said = installed.ok();
    assert!(said.contains("wslnetd runs in this distro"), "{said}");
    assert_eq!(distro.property("ActiveState"), "active");
    for (unit, state) in [
        ("wslnetd.service", "enabled"),
        ("wslnetd-engines.socket", "enabled"),
        ("wslnetd-hosts.socket", "disabled"),
    ] {
        let seen = distro.systemctl(&["is-enabled", unit]).stdout;
        assert_eq!(seen.trim(), state, "{unit}");
    }
    let shipped = include_str!("../../../systemd/config.toml");
    assert_eq!(distro.run(&["cat", CONFIG_FILE]).ok(), shipped);
    let key = distro.run(&["stat", "--format=%U %a", "/var/lib/wslnetd"]).ok();
    assert_eq!(key.trim(), "wslnetd 700");

    let said = distro.run(&[UNINSTALL, "--linux-only"]).ok();

    assert_same(&before, &traces(&distro));
    for line in [
        "removed: /usr/local/bin/wslnetd\n",
        "removed: /etc/wslnetd/config.toml\n",
        "removed: /var/lib/wslnetd\n",
        "removed: the user wslnetd\n",
        "wslnetd is removed from this distro\n",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let said = distro.run(&[UNINSTALL, "--linux-only"]).ok();
    assert_eq!(said, "wslnetd is not installed in this distro\n");
    assert_same(&before, &traces(&distro));
}

#[test]
fn a_user_and_a_group_that_are_somebodys_stay_and_it_is_said() {
    let world = World::new();
    let (_release, distro) = bare(&world);
    let remove = || distro.run(&[UNINSTALL, "--linux-only"]).ok();
    let accounts = || {
        let script = "getent passwd wslnetd; getent group wslnetd";
        distro.run(&["/bin/sh", "-c", script]).stdout
    };

    // Nothing is installed, and the group is of somebody.
    distro.run(&["groupadd", "--gid", "4567", "wslnetd"]).ok();
    let said = remove();
    assert!(
        said.contains("left: the group wslnetd")
            && said.ends_with("wslnetd is not installed in this distro\n"),
        "{said}"
    );
    assert_eq!(accounts(), "wslnetd:x:4567:\n");

    // The daemon's user has come to a group that was there, and goes again.
    install(&distro).ok();
    assert!(accounts().contains(":/var/lib/wslnetd:"), "{}", accounts());
    // Somebody has locked the list of users, as process 1: what is known of the group is not forgotten by that.
    distro.write("/etc/passwd.lock", "1");
    let failed = distro.run(&[UNINSTALL, "--linux-only"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(
        failed.stderr.contains("cannot remove the user wslnetd"),
        "{failed:?}"
    );
    distro.run(&["rm", "/etc/passwd.lock"]).ok();
    let said = remove();
    assert!(
        said.contains("left: the group wslnetd, which was there before"),
        "{said}"
    );
    assert_eq!(accounts(), "wslnetd:x:4567:\n");
    assert_ne!(distro.run(&["test", "-e", "/etc/wslnetd"]).code, 0);

    // A user of somebody.
    distro
        .run(&[
            "useradd",
            "--gid",
            "4567",
            "--home-dir",
            "/srv/wslnetd",
            "wslnetd",
        ])
        .ok();
    let before = accounts();
    let said = remove();
    assert!(
        said.contains("left: the user wslnetd, whose home is /srv/wslnetd"),
        "{said}"
    );
    assert_eq!(accounts(), before);
}

#[test]
fn an_upgrade_keeps_config_and_keys_and_the_ports_are_back_at_once() {
    let world = World::new();
    let (release, distro) = bare(&world);
    let mut companion = Companion::new(&world);
    let config = format!("{CONFIG}# by hand\n");
    distro.write(CONFIG_FILE, &config);
    install(&distro).ok();
    companion.trust("ubuntu", distro.run(&["wslnetd", "key"]).ok().trim());
    distro.run(&["wslnetd", "trust", &companion.key()]).ok();
    companion.start();
    distro.start("web", &WEB);
    world.client.until_open(SOON, WINDOWS, 8000);
    let first = distro.property("MainPID");

    // The same once more: nothing is interrupted.
    let said = install(&distro).ok();
    assert!(said.contains("up to date"), "{said}");
    assert_eq!(distro.property("MainPID"), first);
    world.client.until_open(SOON, WINDOWS, 8000);

    // Another build, while the former one runs.
    release.rebuild_daemon();
    install(&distro).ok();
    assert_ne!(distro.property("MainPID"), first);
    world.client.until_open(SOON, WINDOWS, 8000);
    connected(&distro);
    assert_eq!(distro.run(&["cat", CONFIG_FILE]).ok(), config);
    let left = distro.run(&[
        "find",
        "/usr/local/bin",
        "/etc/systemd/system",
        "-name",
        ".*wslnetd*",
    ]);
    assert_eq!(left.ok(), "");
}

#[test]
fn what_cannot_work_changes_nothing() {
    let world = World::new();
    let (release, distro) = bare(&world);
    install(&distro).ok();
    let first = distro.property("MainPID");
    let before = traces(&distro);
    let daemon = std::fs::read(release.path().join("wslnetd")).unwrap();
    let refused = |args: &[&str], code: i32, word: &str| {
        let ran = distro.run(&[&[INSTALL], args].concat());
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(word), "{word}: {ran:?}");
        assert_eq!(distro.property("MainPID"), first);
        assert_same(&before, &traces(&distro));
    };

    refused(&["--from", "/nowhere"], 2, "no such folder");
    refused(&["--frm", "/nowhere"], 2, "--help");
    refused(&["--from", "/usr", "--linux-only"], 1, "/usr/wslnetd is missing");
    // Of another architecture, or of a newer C library.
    release.put("wslnetd", b"\x7fELF and nothing else");
    refused(&["--linux-only"], 1, "does not run here");
    release.put("wslnetd", &daemon);
    release.put("wslnet-companion.exe", b"\x7fELF");
    refused(&[], 1, "not a program for Windows");
    std::fs::remove_file(release.path().join("wslnet-companion.exe")).unwrap();
    refused(&[], 1, "wslnet-companion.exe is missing");
    std::fs::remove_file(release.path().join("systemd/wslnetd.service")).unwrap();
    refused(&["--linux-only"], 1, "wslnetd.service is missing");
}

#[test]
fn a_config_that_the_new_version_refuses_stops_the_upgrade_before_it_begins() {
    let world = World::new();
    let (release, distro) = bare(&world);
    install(&distro).ok();
    let first = distro.property("MainPID");
    distro.write(CONFIG_FILE, "opt-out = [\"prot=8000\"]\n");
    release.rebuild_daemon();

    let ran = install(&distro);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("prot=8000") && ran.stderr.contains("nothing was changed"),
        "{ran:?}"
    );
    assert_eq!(distro.property("MainPID"), first);
}

#[test]
fn a_version_that_does_not_start_gives_way_to_the_former_one() {
    let world = World::new();
    let (release, distro) = bare(&world);
    install(&distro).ok();
    let sum = || distro.run(&["sha256sum", PROGRAM]).ok();
    let (first, before) = (sum(), traces(&distro));
    // It answers to --version and `check`, and that is all.
    let dud = b"#!/bin/sh\ncase $1 in --version) echo wslnetd 9;; check) ;; *) exit 1;; esac\n";
    release.put("wslnetd", dud);

    let ran = install(&distro);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("the former version is back, and runs"),
        "{ran:?}"
    );
    assert_eq!(sum(), first);
    assert_same(&before, &traces(&distro));
    distro.status().unwrap();
}

#[test]
fn a_first_version_that_does_not_start_is_taken_away_again() {
    let world = World::new();
    let (release, distro) = bare(&world);
    release.put("wslnetd", b"#!/bin/sh\n[ $1 = --version ] && echo wslnetd 9\n");
    let before = traces(&distro);

    let ran = install(&distro);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert_ne!(distro.run(&["test", "-e", PROGRAM]).code, 0);
    distro.run(&[UNINSTALL, "--linux-only"]).ok();
    assert_same(&before, &traces(&distro));
}

#[test]
fn a_half_removed_installation_can_be_removed_and_what_is_others_stays() {
    let world = World::new();
    let (_release, distro) = bare(&world);
    distro.write(HAND_WRITTEN, "[Service]\nNice=1\n");
    distro.write("/etc/wslnetd/notes.txt", "mine\n");
    let hosts = "127.0.0.1 localhost\n10.0.0.9 nas.wsl\n";
    distro.write("/etc/hosts", hosts);
    let before = traces(&distro);
    install(&distro).ok();
    // A crash has left names; a unit, the user and a folder are gone already.
    let block = "# BEGIN wslnet: these lines come and go with wslnet; changes to them are lost\n\
                 172.28.0.1 windows.wsl # wslnet\n# END wslnet\n";
    distro.write("/etc/hosts", &format!("{hosts}{block}"));
    distro.run(&[
        "rm",
        "-r",
        "/etc/systemd/system/wslnetd-engines.socket",
        "/var/lib/wslnetd",
    ]);
    distro.systemctl(&["daemon-reload"]).ok();

    let said = distro.run(&[UNINSTALL, "--linux-only"]).ok();

    assert_same(&before, &traces(&distro));
    for left in [
        Path::new(HAND_WRITTEN).parent().unwrap().to_str().unwrap(),
        "/etc/wslnetd",
    ] {
        assert!(said.contains(&format!("left: {left}")), "{said}");
    }
}

#[test]
fn the_config_is_kept_if_asked_for() {
    let world = World::new();
    let (_release, distro) = bare(&world);
    install(&distro).ok();
    distro.write(CONFIG_FILE, "# mine\n");

    distro.run(&[UNINSTALL, "--linux-only", "--keep-config"]).ok();

    assert_eq!(distro.run(&["cat", CONFIG_FILE]).ok(), "# mine\n");
    assert_ne!(distro.run(&["test", "-e", "/var/lib/wslnetd"]).code, 0);
    install(&distro).ok();
    assert_eq!(distro.run(&["cat", CONFIG_FILE]).ok(), "# mine\n");
}

#[test]
fn without_windows_the_distros_part_is_installed_and_the_rest_is_told() {
    let world = World::new();
    let (_release, distro) = bare(&world);

    let ran = distro.run(&[INSTALL]);

    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(distro.property("ActiveState"), "active");
    for line in [
        "drive C of Windows is not mounted",
        r"Copy-Item -LiteralPath '\\wsl.localhost\Ubuntu\opt\wslnet\wslnet-companion.exe' -Destination $setup",
        r#"& "$setup\wslnet-companion.exe" install --pair 'Ubuntu'"#,
    ] {
        assert!(ran.stdout.contains(line), "{line}: {ran:?}");
    }

    let ran = distro.run(&[UNINSTALL]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("uninstall"), "{ran:?}");
    assert_ne!(distro.run(&["test", "-e", PROGRAM]).code, 0);
}

#[test]
fn without_systemd_it_says_what_goes_into_wsl_conf() {
    let world = World::new();
    let (_release, distro) = bare(&world);
    // A PID namespace of its own, in which the shell is the first process.
    let line =
        "mount -t tmpfs tmpfs /run; umount -l /run/systemd 2>/dev/null; exec /opt/wslnet/scripts/install.sh";
    let ran = distro.run(&[
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "/bin/sh",
        "-c",
        line,
    ]);

    assert_eq!(ran.code, 4, "{ran:?}");
    for text in ["/etc/wsl.conf", "[boot]\nsystemd=true\n", "wsl.exe --shutdown"] {
        assert!(ran.stderr.contains(text), "{text}: {ran:?}");
    }
    assert_ne!(distro.run(&["test", "-e", PROGRAM]).code, 0);
}

#[test]
fn in_wsl_1_nothing_is_changed_and_the_way_out_is_told() {
    let world = World::new();
    let (_release, distro) = bare(&world);
    let before = traces(&distro);
    // A kernel cannot be exchanged here; what tells its name can.
    let old = "/run/old";
    distro.run(&["mkdir", old]).ok();
    distro.write("/run/old/uname", "#!/bin/sh\necho 4.4.0-22621-Microsoft\n");
    distro.run(&["chmod", "755", "/run/old/uname"]).ok();

    let path = format!("PATH={old}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let ran = distro.run(&["env", &path, "WSL_DISTRO_NAME=Ubuntu", INSTALL]);

    assert_eq!(ran.code, 4, "{ran:?}");
    for text in ["runs on WSL 1", "wsl.exe --set-version Ubuntu 2"] {
        assert!(ran.stderr.contains(text), "{text}: {ran:?}");
    }
    distro.run(&["rm", "-r", old]).ok();
    assert_same(&before, &traces(&distro));
}

#[test]
fn two_installations_at_once_do_not_meet() {
    let world = World::new();
    let (_release, distro) = bare(&world);
    let hold = ["flock", "/etc/systemd/system", INSTALL, "--linux-only"];

    let ran = distro.run(&hold);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("another run"), "{ran:?}");
    assert_ne!(distro.run(&["test", "-e", PROGRAM]).code, 0);
}
