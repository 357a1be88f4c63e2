//! `scripts/install.sh` and `scripts/uninstall.sh` on both sides: the distro under systemd, Windows under Wine.

use crate::bench::{CONTROL_PORT, GATEWAY, SOON, WINDOWS, Windows, Wsl, check, eventually};
use crate::systemd::install::{assert_same, traces};

const INSTALL: &str = "/opt/wslnet/scripts/install.sh";
const UNINSTALL: &str = "/opt/wslnet/scripts/uninstall.sh";
/// The same, as the distro sees it.
const COMPANION: &str = "/mnt/c/Program Files/wslnet/wslnet-companion.exe";
/// Keys of distros that are not here.
const ANOTHER: &str = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
const OTHER: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
const INSTALLED: &str = "Program Files/wslnet/wslnet-companion.exe";
/// Where Windows keeps what starts with the user, and what is a service.
const KEYS: [&str; 3] = [
    r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run",
    r"HKLM\System\CurrentControlSet\Services",
    r"HKCU\Software\Microsoft\Windows\CurrentVersion\Lxss",
];

fn serve(wsl: &Wsl<'_>) {
    let web = [
        "/usr/bin/python3",
        "-m",
        "http.server",
        "--directory=/usr",
        "8000",
    ];
    wsl.distro.start("web", &web);
}

fn companion_is_there(wsl: &Wsl<'_>) -> bool {
    wsl.windows.file(INSTALLED).exists()
}

/// What installations have left in the folder of the user.
fn staged(wsl: &Wsl<'_>) -> Vec<String> {
    let entries = std::fs::read_dir(wsl.windows.local_app_data()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("wslnet-setup")).collect()
}

#[test]
fn one_command_installs_both_sides_and_one_removes_them() {
    let world = Windows::world();
    let wsl = Wsl::new(&world);
    let registry = || KEYS.map(|key| wsl.windows.reg(&["query", key, "/s"]));
    let (before, keys) = (traces(&wsl.distro), registry());
    serve(&wsl);

    let said = wsl.run_as("ann", &[INSTALL]).ok();

    assert!(said.contains("connected"), "{said}");
    assert!(companion_is_there(&wsl));
    world.client.until_open(SOON, WINDOWS, 8000);
    assert!(
        world
            .client
            .fetch(WINDOWS, 8000, "/")
            .unwrap()
            .contains("Directory listing")
    );
    assert_eq!(staged(&wsl), Vec::<String>::new());

    // Once more, with another build: an upgrade.
    let first = wsl.distro.property("MainPID");
    wsl.release.rebuild_daemon();
    wsl.run_as("ann", &[INSTALL]).ok();
    assert_ne!(wsl.distro.property("MainPID"), first);
    world.client.until_open(SOON, WINDOWS, 8000);

    let said = wsl.run_as("ann", &[UNINSTALL]).ok();

    world.client.until_closed(SOON, WINDOWS, 8000);
    assert!(!companion_is_there(&wsl), "{said}");
    assert!(!wsl.windows.local_app_data().join("wslnet").exists());
    wsl.distro.systemctl(&["stop", "web"]).ok();
    assert_same(&before, &traces(&wsl.distro));
    assert_eq!(registry(), keys);

    // Nothing is left to remove, and that is no failure.
    wsl.run_as("root", &[UNINSTALL]).ok();
    assert_same(&before, &traces(&wsl.distro));
}

#[test]
fn as_a_service_it_is_installed_paired_upgraded_and_removed_in_one_go_each() {
    let world = Windows::world();
    let wsl = Wsl::new(&world);
    let registry = || KEYS.map(|key| wsl.windows.reg(&["query", key, "/s"]));
    let (before, keys) = (traces(&wsl.distro), registry());
    // Beforehand, since Wine has no adapter of WSL's. On Windows the folder would be refused: the test makes it, not an administrator.
    let state = wsl.windows.file("ProgramData/wslnet");
    std::fs::create_dir_all(&state).unwrap();
    let config = format!("networks = \"any\"\nlisten = \"{GATEWAY}:{CONTROL_PORT}\"\n");
    std::fs::write(state.join("companion.toml"), config).unwrap();
    serve(&wsl);

    let said = wsl.run_as("ann", &[INSTALL, "--service"]).ok();

    assert!(
        said.contains("made: the service") && said.contains("Ubuntu: paired and connected"),
        "{said}"
    );
    assert!(
        !said.contains("\ntrusted: "),
        "the installation has done that: {said}"
    );
    world.client.until_open(SOON, WINDOWS, 8000);
    let key = wsl.distro.run(&["wslnetd", "key"]).ok();
    let trusted = || wsl.run_as("ann", &[COMPANION, "trusted"]).ok();
    assert_eq!(trusted().trim(), format!("Ubuntu {}", key.trim()));

    // Again, from either side: what is known takes no administrator, whose part would say what it trusts.
    for again in [
        wsl.run_as("ann", &[COMPANION, "pair", "Ubuntu"]).ok(),
        wsl.run_as("root", &["wslnetd", "pair"]).ok(),
    ] {
        assert!(again.contains("Ubuntu: paired and connected"), "{again}");
        assert!(!again.contains("trusted: "), "{again}");
    }
    // Forgotten on Windows, it is what is asked for.
    let forgotten = wsl.run_as("ann", &[COMPANION, "untrust", "Ubuntu"]).ok();
    assert!(forgotten.contains("no longer trusted: Ubuntu"), "{forgotten}");
    assert_eq!(trusted().trim(), "");
    world.client.until_closed(SOON, WINDOWS, 8000);
    let again = wsl.run_as("ann", &[COMPANION, "pair", "Ubuntu"]).ok();
    assert!(
        again.contains("trusted: Ubuntu") && again.contains("connected"),
        "{again}"
    );
    world.client.until_open(SOON, WINDOWS, 8000);

    // What is started elevated, without the one who waits for its answer. Wine's user is an administrator already.
    let pipe = r"\\.\pipe\wslnet-install-0123456789abcdef";
    let elevated = |arguments: &[&str]| {
        let line = [&[COMPANION], arguments, &["--answer-to", pipe]].concat();
        wsl.run_as("root", &line)
    };
    let trust = [("Arch", ANOTHER), ("debian", OTHER)].map(|(name, key)| format!("--trust={name}={key}"));
    elevated(&["install", "--service", &trust[0]]).ok();
    elevated(&["change-trust", &trust[1]]).ok();
    let names = || {
        trusted()
            .lines()
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(), ["Arch", "Ubuntu", "debian"]);
    elevated(&["change-trust", "--untrust=Arch", "--untrust=debian"]).ok();
    assert_eq!(names(), ["Ubuntu"]);
    let elsewhere = [COMPANION, "change-trust", &trust[0], "--answer-to", r"C:\answer"];
    let refused = wsl.run_as("root", &elsewhere);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(names(), ["Ubuntu"]);
    world.client.until_open(SOON, WINDOWS, 8000);

    // An upgrade keeps the form.
    wsl.release.rebuild_daemon();
    let said = wsl.run_as("ann", &[INSTALL]).ok();
    assert!(said.contains("changed: the service"), "{said}");
    world.client.until_open(SOON, WINDOWS, 8000);

    let said = wsl.run_as("ann", &[UNINSTALL]).ok();

    assert!(said.contains("removed: the service"), "{said}");
    world.client.until_closed(SOON, WINDOWS, 8000);
    assert!(!companion_is_there(&wsl) && !state.exists(), "{said}");
    wsl.distro.systemctl(&["stop", "web"]).ok();
    assert_same(&before, &traces(&wsl.distro));
    assert_eq!(registry(), keys);
}

#[test]
fn what_is_installed_on_both_sides_and_does_not_connect_is_told_by_the_doctor() {
    let world = Windows::world();
    let wsl = Wsl::new(&world);
    // Nobody listens where the distro looks for it.
    let config = wsl.windows.local_app_data().join("wslnet/companion.toml");
    std::fs::write(
        config,
        format!("networks = \"any\"\nlisten = \"127.0.0.1:{CONTROL_PORT}\"\n"),
    )
    .unwrap();

    let ran = wsl.run_as("root", &[INSTALL]);

    assert_eq!(ran.code, 5, "{ran:?}");
    for text in [
        "Ubuntu: paired, but not connected",
        "after 45 seconds not connected",
        "fix:",
    ] {
        assert!(ran.stderr.contains(text), "{text}: {ran:?}");
    }
    assert!(companion_is_there(&wsl));
    assert_eq!(wsl.distro.property("ActiveState"), "active");
}

#[test]
fn another_distro_keeps_the_companion_on_windows() {
    let world = Windows::world();
    let wsl = Wsl::new(&world);
    wsl.run_as("root", &[INSTALL]).ok();
    wsl.run_as("root", &[COMPANION, "trust", "debian", OTHER]).ok();
    serve(&wsl);
    world.client.until_open(SOON, WINDOWS, 8000);

    for _ in 0..2 {
        let said = wsl.run_as("root", &[UNINSTALL]).ok();

        assert!(said.contains("stays on Windows, for debian"), "{said}");
        world.client.until_closed(SOON, WINDOWS, 8000);
        let trusted = wsl.run_as("root", &[COMPANION, "trusted"]).ok();
        assert_eq!(trusted.trim(), format!("debian {OTHER}"));
    }

    wsl.run_as("root", &[UNINSTALL, "--windows"]).ok();
    assert!(!companion_is_there(&wsl));
}

#[test]
fn where_windows_programs_do_not_start_the_distros_part_is_installed_and_the_rest_is_told() {
    let world = Windows::world();
    let wsl = Wsl::new(&world);

    // The drive is there, but nobody runs what is on it.
    let ran = wsl.distro.run(&[INSTALL]);

    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.stdout.contains("Look for [interop] in /etc/wsl.conf"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("pair 'Ubuntu'"), "{ran:?}");
    assert_eq!(wsl.distro.property("ActiveState"), "active");
    assert!(!companion_is_there(&wsl));

    let ran = wsl.distro.run(&[UNINSTALL]);
    assert_eq!(ran.code, 3, "{ran:?}");
}

#[test]
fn what_fails_on_windows_leaves_the_distros_part_running() {
    let world = Windows::world();
    let wsl = Wsl::new(&world);
    wsl.release.put("wslnet-companion.exe", b"MZ and nothing else");

    let ran = wsl.run_as("root", &[INSTALL]);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("Windows' part could not be installed"),
        "{ran:?}"
    );
    assert_eq!(wsl.distro.property("ActiveState"), "active");
    // Nothing of the failure stays in the user's folder.
    eventually(SOON, || {
        let staged = staged(&wsl);
        check(staged.is_empty(), || format!("{staged:?}"))
    });
}
