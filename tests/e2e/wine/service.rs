//! How the program runs on Windows by itself: as a service, and from the logon on. The manager of services, the registry and the
//! start of Windows are Wine's. It keeps no access lists of files, asks nobody for an administrator, and shows no event log.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::{
    CONTROL_PORT, Distro, GATEWAY, PYTHON, SOON, SystemdDistro, WINDOWS, Windows, World, check, eventually,
    guest, web,
};

const NAME: &str = "wslnet-companion";
const SERVICES: &str = r"HKLM\SYSTEM\CurrentControlSet\Services";
const USER: &str = r"HKCU\Software\Microsoft\Windows\CurrentVersion";
/// Where the service has its files, and the program of the logon.
const STATE: &str = "ProgramData/wslnet";
const USERS_STATE: &str = "users/root/AppData/Local/wslnet";
const PROGRAM: &str = "Program Files/wslnet/wslnet-companion.exe";
/// Others' lines in the hosts file.
const HOSTS: &[u8] = b"# Copyright (c) somebody\r\n127.0.0.1 localhost\r\nno end";
/// Wine puts its registry on the disk every 30 seconds.
const SAVED: Duration = Duration::from_secs(90);

#[test]
fn a_service_serves_a_systemd_distro_and_leaves_no_trace() {
    let world = Windows::world();
    let windows = Windows::new(&world);
    let before = plant(&windows);
    let distro = SystemdDistro::boot(
        &world,
        "network-mode = \"nat\"\n[[rule]]\nwhen = \"port=8000\"\nname = \"shop\"\n",
    );
    let told = windows.bare(&["install", "--service"]);
    assert!(
        told.contains("made: the service wslnet-companion, which runs"),
        "{told}"
    );
    let key = windows.bare(&["key"]);
    windows.bare(&["trust", "ubuntu", distro.run(&["wslnetd", "key"]).ok().trim()]);
    distro.run(&["wslnetd", "trust", &key]).ok();
    configure(&windows, "");
    distro.start("web", &[PYTHON, "-m", "http.server", "--directory=/usr", "8000"]);
    distro.systemctl(&["start", "wslnetd.service"]).ok();

    world.client.until_open(SOON * 2, WINDOWS, 8000);
    let page = world.client.fetch(WINDOWS, 8000, "/").unwrap();
    assert!(page.contains("Directory listing"), "{page}");
    eventually(SOON, || {
        let hosts = std::fs::read(windows.hosts()).unwrap_or_default();
        let named = String::from_utf8_lossy(&hosts).contains("shop.wsl");
        check(named && hosts.starts_with(HOSTS), || "no name".to_owned())
    });
    let status: Value = serde_json::from_str(&windows.bare(&["status", "--json"])).unwrap();
    assert_eq!(status["form"], "service");
    assert_eq!(
        status["rights"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|right| right["missing"].is_null())
            .count(),
        4,
        "{status}"
    );

    distro.systemctl(&["stop", "web.service"]).ok();
    world.client.until_closed(SOON, WINDOWS, 8000);
    distro.start(
        "again",
        &[PYTHON, "-m", "http.server", "--directory=/usr", "8000"],
    );
    world.client.until_open(SOON, WINDOWS, 8000);
    world.vm.ip("addr flush dev eth0 scope global");
    world.vm.ip("addr add 172.28.0.99/20 dev eth0");
    world.vm.ip("route add default via 172.28.0.1");
    eventually(SOON * 2, || {
        let page = world.client.fetch(WINDOWS, 8000, "/");
        check(page.is_ok(), || format!("{page:?}"))
    });

    windows.system("net", &["stop", NAME]);
    world.client.until_closed(SOON, WINDOWS, 8000);
    // Wine's `net` does not wait, and a file is replaced in two steps.
    until_stopped(&windows);
    assert_eq!(std::fs::read(windows.hosts()).unwrap(), HOSTS);
    windows.system("net", &["start", NAME]);
    world.client.until_open(SOON * 2, WINDOWS, 8000);

    let log = std::fs::read_to_string(windows.file(STATE).join("companion.log")).unwrap();
    let exposed =
        "exposure changed distro=\"ubuntu\" change=\"opened tcp 8000 at 192.168.50.1:8000 (process=python3";
    assert!(log.contains(exposed), "{log}");
    windows.bare(&["uninstall"]);
    world.client.until_closed(SOON, WINDOWS, 8000);
    assert_as_before(&windows, &before);
    assert!(
        windows.file(STATE).join("key").exists(),
        "the key is kept unless --all is said"
    );
    assert_eq!(windows.bare(&["uninstall"]), "nothing to remove");
    windows.bare(&["uninstall", "--all"]);
    assert!(!windows.file(STATE).exists());
}

#[test]
fn a_service_is_back_after_a_power_cut_and_stops_while_connections_are_busy() {
    let world = Windows::world();
    let (windows, mut distro) = serving(&world);
    let _busy = guest(
        &distro.machine,
        "busy",
        "import threading\n\
         def serve(connection):\n\
         \x20   while True: connection.sendall(connection.recv(65536))\n\
         busy = listener(8000)\n\
         while True: threading.Thread(target=serve, args=(busy.accept()[0],), daemon=True).start()",
    );
    distro.start_connected();
    world.client.until_open(SOON * 2, WINDOWS, 8000);

    eventually(SAVED, || {
        let saved =
            std::fs::read_to_string(windows.file("../system.reg")).map_err(|error| error.to_string())?;
        let registered = saved.contains(r"System\\CurrentControlSet\\Services\\wslnet-companion]");
        check(registered, || "not on the disk yet".to_owned())
    });
    windows.cut_power();
    world.client.until_closed(SOON, WINDOWS, 8000);
    windows.switch_on();
    world.client.until_open(SOON * 3, WINDOWS, 8000);

    let mut clients: Vec<_> = (0..8)
        .map(|_| world.client.connect(WINDOWS, 8000).unwrap())
        .collect();
    let flood = vec![b'x'; 1 << 16];
    for client in &mut clients {
        // Nobody reads the answers, so that both directions are full.
        client
            .set_write_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        while client.write(&flood).is_ok() {}
    }
    let start = Instant::now();
    windows.system("net", &["stop", NAME]);
    until_stopped(&windows);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    world.client.until_closed(SOON, WINDOWS, 8000);
    for client in &mut clients {
        let end = client.read_to_end(&mut Vec::new());
        let timed_out = end
            .as_ref()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "a connection outlives the service: {end:?}");
    }
}

#[test]
fn a_bad_configuration_is_told_to_the_service_control_manager() {
    let world = Windows::world();
    let windows = Windows::new(&world);
    windows.switch_on();
    windows.bare(&["install", "--service"]);
    windows.system("net", &["stop", NAME]);
    until_stopped(&windows);
    std::fs::write(windows.file(STATE).join("companion.toml"), "reech = 1\n").unwrap();

    windows.try_system("net", &["start", NAME]);

    eventually(SOON, || {
        let query = windows.system("sc", &["query", NAME]);
        let told = query.contains("SERVICE_EXIT_CODE  : 2") && query.contains("STOPPED");
        check(told, || query.clone())
    });
    let log = std::fs::read_to_string(windows.file(STATE).join("companion.log")).unwrap();
    assert!(
        log.contains("did you mean `reach`?") || log.contains("reech"),
        "{log}"
    );
    let said = windows.refused(&["install", "--service"]);
    assert!(said.contains("the service has ended with code 2"), "{said}");
}

#[test]
fn the_program_of_the_logon_comes_becomes_a_service_and_goes() {
    let world = Windows::world();
    let windows = Windows::new(&world);
    let before = plant(&windows);
    std::fs::create_dir_all(windows.file(USERS_STATE)).unwrap();
    std::fs::write(windows.file(USERS_STATE).join("companion.toml"), listen()).unwrap();
    let mut distro = Distro::new(&world, "ubuntu");

    windows.bare(&["install"]);
    let key = windows.bare(&["key"]);
    windows.bare(&["trust", "ubuntu", &distro.key()]);
    distro.cli(&["trust", &key]).ok();
    distro.start_connected();
    let _web = web(&distro.machine, 8000);
    world.client.until_open(SOON * 2, WINDOWS, 8000);
    assert!(windows.bare(&["status"]).contains("runs: logon; can open ports"));
    let run = windows.reg(&["query", &format!(r"{USER}\Run"), "/v", NAME]);
    let line = r#""C:\Program Files\wslnet\wslnet-companion.exe" run --background"#;
    assert!(run.contains(line), "{run}");

    // Again: a new version of it is put into the place of the one that runs.
    windows.bare(&["install"]);
    world.client.until_open(SOON * 2, WINDOWS, 8000);
    assert!(windows.file(PROGRAM).exists());

    let told = windows.bare(&["install", "--service"]);
    assert!(
        told.contains("removed: the start at the logon") && told.contains("made: the service"),
        "{told}"
    );
    world.client.until_closed(SOON, WINDOWS, 8000);
    let said = windows.refused(&["run", "--background"]);
    assert!(said.contains("is installed on this machine"), "{said}");

    let told = windows.bare(&["install", "--logon"]);
    assert!(told.contains("removed: the service"), "{told}");
    distro.until_connected();
    world.client.until_open(SOON * 2, WINDOWS, 8000);

    windows.bare(&["uninstall", "--all"]);
    world.client.until_closed(SOON, WINDOWS, 8000);
    assert_as_before(&windows, &before);
    assert!(!windows.file(USERS_STATE).exists() && !windows.file(STATE).exists());
}

#[test]
fn the_program_stays_for_other_users_who_have_it_start_at_their_logon() {
    let world = Windows::world();
    let windows = Windows::new(&world);
    windows.switch_on();
    let profile = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList\S-1-5-21-1-2-3-1002";
    let list = r"HKLM\SOFTWARE\wslnet-companion";
    windows.bare(&["install"]);
    // Another user, who is not logged on.
    windows.reg(&["add", profile, "/v", "ProfileImagePath", "/d", r"C:\Users\bob"]);
    windows.reg(&["add", list, "/v", "S-1-5-21-1-2-3-1002"]);

    let left = "left: the program and its firewall rules, for bob";
    let told = windows.bare(&["uninstall"]);
    assert!(
        told.contains(left) && told.contains("removed: the start at the logon"),
        "{told}"
    );
    // There is nothing that would take an administrator any more, and it is told why.
    let again = windows.bare(&["uninstall"]);
    assert!(again.contains(left), "{again}");
    assert!(windows.file(PROGRAM).exists());

    // Windows has forgotten him. A third one is logged on, and has taken the start at his logon out by hand.
    windows.reg(&["add", list, "/v", "S-1-5-21-1-2-3-1003"]);
    windows.reg(&[
        "add",
        &profile.replace("1002", "1003"),
        "/v",
        "ProfileImagePath",
        "/d",
        r"C:\Users\carl",
    ]);
    windows.reg(&["add", r"HKU\S-1-5-21-1-2-3-1003\Software"]);
    windows.reg(&["delete", profile, "/f"]);
    let told = windows.bare(&["uninstall"]);
    assert!(told.contains("removed: ") && !told.contains("left: "), "{told}");
    assert!(!windows.file(PROGRAM).exists());
    let (is_there, _) = windows.try_system("reg", &["query", list]);
    assert!(!is_there);
}

#[test]
fn a_file_in_the_place_of_the_state_folder_is_refused() {
    let world = Windows::world();
    let windows = Windows::new(&world);
    windows.switch_on();
    std::fs::write(windows.file(STATE), "planted").unwrap();

    let said = windows.refused(&["install", "--service"]);

    assert!(said.contains("must be a folder"), "{said}");
    let (found, _) = windows.try_system("sc", &["query", NAME]);
    assert!(!found, "no service is made then");

    let told = windows.bare(&["uninstall"]);
    assert!(told.contains("what is written there removes nothing"), "{told}");
    assert!(!windows.file(PROGRAM).exists());
}

#[test]
fn an_upgrade_that_fails_leaves_a_service_that_runs() {
    let world = Windows::world();
    let windows = Windows::new(&world);
    windows.switch_on();
    windows.bare(&["install", "--service"]);
    let (state, aside) = (windows.file(STATE), windows.file("ProgramData/aside"));
    std::fs::rename(&state, &aside).unwrap();
    std::fs::write(&state, "in the way").unwrap();

    let said = windows.refused(&["install", "--service"]);

    assert!(said.contains("must be a folder"), "{said}");
    let query = windows.system("sc", &["query", NAME]);
    assert!(query.contains("RUNNING"), "{query}");

    std::fs::remove_file(&state).unwrap();
    std::fs::rename(&aside, &state).unwrap();
    windows.bare(&["install", "--service"]);
    let folder = windows.file(PROGRAM);
    let folder = folder.parent().unwrap();
    eventually(SOON, || {
        let left: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        check(left.len() == 1, || format!("{left:?}"))
    });
}

/// What others have on this Windows, and what is there before anything of ours.
fn plant(windows: &Windows<'_>) -> [Vec<u8>; 2] {
    windows.switch_on();
    let table = format!(r"{SERVICES}\PortProxy\v4tov4\tcp");
    windows.reg(&[
        "add",
        &table,
        "/v",
        "*/2222",
        "/t",
        "REG_SZ",
        "/d",
        "10.0.0.9/22",
        "/f",
    ]);
    let run = format!(r"{USER}\Run");
    windows.reg(&[
        "add",
        &run,
        "/v",
        "others",
        "/t",
        "REG_SZ",
        "/d",
        "others.exe",
        "/f",
    ]);
    // A new file, because the prefix shares its files with the one it was copied from.
    std::fs::remove_file(windows.hosts()).unwrap();
    std::fs::write(windows.hosts(), HOSTS).unwrap();
    [SERVICES, USER].map(|key| windows.export(key))
}

#[track_caller]
fn assert_as_before(windows: &Windows<'_>, before: &[Vec<u8>; 2]) {
    for (key, before) in [SERVICES, USER].iter().zip(before) {
        assert!(
            windows.export(key) == *before,
            "{key} is not byte for byte as before"
        );
    }
    assert_eq!(std::fs::read(windows.hosts()).unwrap(), HOSTS);
    let folder: PathBuf = windows.file(PROGRAM);
    assert!(!folder.parent().unwrap().exists(), "the program is still there");
}

/// A service and a distro that know each other; the distro's daemon does not run yet.
fn serving(world: &World) -> (Windows<'_>, Distro) {
    let windows = Windows::new(world);
    let distro = Distro::new(world, "ubuntu");
    windows.switch_on();
    windows.bare(&["install", "--service"]);
    let key = windows.bare(&["key"]);
    windows.bare(&["trust", "ubuntu", &distro.key()]);
    distro.cli(&["trust", &key]).ok();
    configure(&windows, "");
    (windows, distro)
}

/// Gives the service its companion.toml, with which it starts anew: outside of Windows nobody tells which adapter is WSL's,
/// and every network is public.
fn configure(windows: &Windows<'_>, more: &str) {
    std::fs::write(
        windows.file(STATE).join("companion.toml"),
        format!("{}{more}", listen()),
    )
    .unwrap();
    windows.system("net", &["stop", NAME]);
    until_stopped(windows);
    windows.system("net", &["start", NAME]);
}

#[track_caller]
fn until_stopped(windows: &Windows<'_>) {
    eventually(SOON, || {
        let query = windows.system("sc", &["query", NAME]);
        check(query.contains("STOPPED"), || query.clone())
    });
}

fn listen() -> String {
    format!("networks = \"any\"\nlisten = \"{GATEWAY}:{CONTROL_PORT}\"\n")
}
