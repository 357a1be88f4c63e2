//! Pairing in one go: from Windows through `wsl.exe`, and from the distro through interop. Both bridges are stand-ins
//! (`bench/interop.rs`); the two programs, their pipes and their keys are real.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bench::{Companion, Distro, Distros, Interop, SOON, World, answer, check, eventually, web};

/// The exit code of a pairing of which only the last step failed: the distro did not connect.
const PAIRED_ONLY: i32 = 3;

/// Pairs through this `wsl.exe`.
fn pair(companion: &Companion<'_>, wsl: &Interop, name: &str) -> crate::bench::Ran {
    let wsl = wsl.program.display().to_string();
    companion.cli(&["pair", "--wsl", &wsl, name])
}

/// The four groups behind the word `fingerprint`.
fn fingerprint(text: &str) -> &str {
    let from = text.split_once("fingerprint ").expect("a fingerprint").1;
    from.get(..19).expect("four groups")
}

#[test]
fn one_command_on_windows_pairs_and_waits_until_the_distro_is_connected() {
    let world = World::new();
    let mut companion = Companion::new(&world);
    let mut distro = Distro::new(&world, "ubuntu");
    let wsl = world.wsl(&[&distro]);
    companion.start();
    distro.start();
    assert_eq!(distro.status().unwrap()["companion"]["state"], "unpaired");

    let ran = pair(&companion, &wsl, "ubuntu");

    let said = ran.stdout.clone();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(said.ends_with("ubuntu: paired and connected\n"), "{said}");
    assert_eq!(
        fingerprint(&said),
        fingerprint(&ran.stderr),
        "both sides show the same"
    );
    distro.until_connected();
    let _web = web(&distro.machine, 8000);
    distro.until_state(8000, "active");
    // Again: the same keys, and nothing is lost.
    let session = companion
        .cli(&["status", "--json"])
        .json::<serde_json::Value>()
        .unwrap()["distros"]
        .clone();
    let again = pair(&companion, &wsl, "ubuntu").ok();
    assert_eq!(fingerprint(&again), fingerprint(&said));
    let after = companion
        .cli(&["status", "--json"])
        .json::<serde_json::Value>()
        .unwrap()["distros"]
        .clone();
    assert_eq!(after[0]["session"], session[0]["session"]);
}

#[test]
fn only_public_keys_travel_and_only_through_the_pipes() {
    let world = World::new();
    let companion = Companion::new(&world);
    let distro = Distro::new(&world, "ubuntu");
    let distros = Distros::new(&[&distro]);
    let folder = world.new_folder("wsl");
    let log = folder.join("log");
    let seen = log.clone();
    let wsl = Interop::new(
        &folder,
        "wsl.exe",
        Box::new(move |arguments, input| {
            let said = distros.wsl(arguments, input);
            let text = format!("{arguments:?}\n{}{}", String::from_utf8_lossy(input), said.1);
            std::fs::write(&seen, text).unwrap();
            said
        }),
    );

    pair(&companion, &wsl, "ubuntu").ok();

    let expected = format!(
        "{:?}\n{{\"pairing\":1,\"companion\":\"{}\"}}\n{{\"paired\":{{\"distro\":\"{}\"}}}}\n",
        [
            "-d",
            "ubuntu",
            "-u",
            "root",
            "--exec",
            "/usr/local/bin/wslnetd",
            "pair",
            "--stdin"
        ],
        companion.key(),
        distro.key()
    );
    assert_eq!(std::fs::read_to_string(log).unwrap(), expected);
    use std::os::unix::fs::MetadataExt;
    let key = std::fs::metadata(Path::new(&distro.place.state).join("key")).unwrap();
    assert_eq!(key.mode() & 0o7777, 0o600);
}

#[test]
fn a_new_key_of_either_side_takes_the_place_of_the_former_one() {
    let world = World::new();
    let mut companion = Companion::new(&world);
    let mut distro = Distro::new(&world, "ubuntu");
    let wsl = world.wsl(&[&distro]);
    companion.start();
    distro.start();
    pair(&companion, &wsl, "ubuntu").ok();

    // The distro was installed anew.
    distro.stop();
    std::fs::remove_dir_all(&distro.place.state).unwrap();
    distro.start();
    let again = pair(&companion, &wsl, "ubuntu").ok();
    assert!(again.contains("former key is no longer trusted"), "{again}");
    distro.until_connected();

    // Windows was.
    companion.stop();
    std::fs::remove_dir_all(&companion.place.state).unwrap();
    companion.start();
    let again = pair(&companion, &wsl, "ubuntu");
    assert!(
        again.stderr.contains("former companion is no longer trusted"),
        "{again:?}"
    );
    distro.until_connected();
    distro.cli(&["unpair"]).ok();
    eventually(SOON, || {
        let status = distro.status()?;
        check(status["companion"]["state"] == "unpaired", || status.to_string())
    });
}

#[test]
fn the_session_of_a_former_key_is_not_taken_for_the_new_ones() {
    let world = World::new();
    let mut companion = Companion::new(&world);
    let mut former = Distro::new(&world, "former");
    "ubuntu".clone_into(&mut former.name);
    let mut distro = Distro::new(&world, "ubuntu");
    let before = world.wsl(&[&former]);
    companion.start();
    former.start();
    pair(&companion, &before, "ubuntu").ok();
    drop(before);
    let distros = Distros::new(&[&distro]);
    let wsl = Interop::new(
        &world.new_folder("wsl-2"),
        "wsl.exe",
        Box::new(move |arguments, input| distros.wsl(arguments, input)),
    );

    let stopped = pair(&companion, &wsl, "ubuntu");

    assert_eq!(stopped.code, PAIRED_ONLY, "{stopped:?}");
    assert_eq!(former.status().unwrap()["companion"]["state"], "unpaired");
    distro.start();
    distro.until_connected();
}

#[test]
fn a_pairing_that_breaks_off_at_any_step_is_mended_by_the_next_one() {
    let world = World::new();
    let mut companion = Companion::new(&world);
    let mut distro = Distro::new(&world, "ubuntu");
    let distros = Distros::new(&[&distro]);
    let step = Arc::new(AtomicUsize::new(0));
    let at = step.clone();
    let wsl = Interop::new(
        &world.new_folder("wsl"),
        "wsl.exe",
        Box::new(move |arguments, input| match at.fetch_add(1, Ordering::SeqCst) {
            // Before the distro hears anything.
            0 => (1, String::new(), "killed".into()),
            // In the middle of the offer.
            1 => distros.wsl(arguments, &input[..input.len() / 2]),
            // After the distro has a key, and before it trusts.
            2 => {
                let key = [&arguments[..6], &["key".to_owned()]].concat();
                distros.wsl(&key, b"");
                (137, String::new(), String::new())
            }
            // After it trusts, and before Windows hears its answer.
            3 => {
                distros.wsl(arguments, input);
                (137, String::new(), String::new())
            }
            // In the middle of the answer.
            4 => {
                let (code, said, complaint) = distros.wsl(arguments, input);
                (code, said[..said.len() / 2].to_owned(), complaint)
            }
            _ => distros.wsl(arguments, input),
        }),
    );
    companion.start();
    distro.start();

    for broken in 0..5 {
        let ran = pair(&companion, &wsl, "ubuntu");
        assert_eq!(ran.code, 1, "step {broken}: {ran:?}");
        assert_eq!(step.load(Ordering::SeqCst), broken + 1);
        assert_ne!(distro.status().unwrap()["companion"]["state"], "connected");
    }

    let whole = pair(&companion, &wsl, "ubuntu").ok();
    assert!(whole.contains("paired and connected"), "{whole}");
}

#[test]
fn what_keeps_a_distro_from_connecting_is_told() {
    let world = World::new();
    let mut companion = Companion::new(&world);
    let mut distro = Distro::new(&world, "ubuntu");
    let wsl = world.wsl(&[&distro]);

    let nobody = pair(&companion, &wsl, "ubuntu").ok();
    assert!(
        nobody.contains("wslnet-companion is not running here"),
        "{nobody}"
    );

    companion.start();
    let stopped = pair(&companion, &wsl, "ubuntu");
    assert_eq!(stopped.code, PAIRED_ONLY);
    assert!(stopped.stderr.contains("wslnetd is not running"), "{stopped:?}");

    // The way from the VM to Windows is blocked, silently.
    world.windows.net.ip("route add blackhole 172.28.0.2/32");
    distro.start();
    let blocked = pair(&companion, &wsl, "ubuntu");
    assert_eq!(blocked.code, PAIRED_ONLY);
    assert!(
        blocked.stderr.contains("Windows Firewall may block"),
        "{blocked:?}"
    );

    world.windows.net.ip("route del blackhole 172.28.0.2/32");
    let open = pair(&companion, &wsl, "ubuntu").ok();
    assert!(open.contains("paired and connected"), "{open}");
}

#[test]
fn hostile_names_unknown_ones_and_a_key_of_another_name_are_refused() {
    let world = World::new();
    let companion = Companion::new(&world);
    let (ubuntu, copy) = (Distro::new(&world, "ubuntu"), Distro::new(&world, "copy"));
    let wsl = world.wsl(&[&ubuntu, &copy]);
    let program = wsl.program.display().to_string();

    for name in ["--exec", "a b", "$(touch x)", "..", "\u{1b}[2J"] {
        let ran = companion.cli(&["pair", "--wsl", &program, "--", name]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("cannot be paired by its name"), "{ran:?}");
        assert!(!ran.stderr.contains('\u{1b}'));
    }
    let unknown = pair(&companion, &wsl, "debian");
    assert!(
        unknown.code == 1 && unknown.stderr.contains("WSL_E_DISTRO_NOT_FOUND"),
        "{unknown:?}"
    );

    pair(&companion, &wsl, "ubuntu").ok();
    let state = Path::new(&copy.place.state);
    copy.key();
    std::fs::copy(Path::new(&ubuntu.place.state).join("key"), state.join("key")).unwrap();
    let refused = pair(&companion, &wsl, "copy");
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("already trusted as \"ubuntu\""),
        "{refused:?}"
    );
    let commands = ["untrust ubuntu", "-d copy -u root --exec rm"];
    assert!(
        commands.iter().all(|command| refused.stderr.contains(command)),
        "{refused:?}"
    );
}

#[test]
fn the_distro_starts_the_pairing_through_interop_or_says_what_to_type() {
    let world = World::new();
    let mut companion = Companion::new(&world);
    let mut distro = Distro::new(&world, "ubuntu");
    distro.configure("distro = \"ubuntu\"\n");
    let wsl = world.wsl(&[&distro]);
    companion.start();
    distro.start();
    distro
        .machine
        .run(&["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .ok();

    let by_hand = distro.cli(&["pair"]);
    assert_eq!(by_hand.code, 1);
    let line = r#"& "$env:ProgramFiles\wslnet\wslnet-companion.exe" pair 'ubuntu'"#;
    assert!(by_hand.stderr.contains(line), "{by_hand:?}");
    assert!(
        by_hand.stderr.contains("drive of Windows is not at /mnt/c"),
        "{by_hand:?}"
    );

    let (windows, flags) = (world.windows.door(), companion.place.flags());
    let wsl_exe = wsl.program.display().to_string();
    let exe = Interop::new(
        &world.new_folder("interop"),
        "wslnet-companion.exe",
        Box::new(move |arguments, input| {
            let words = ["pair", "--wsl", &wsl_exe].map(str::to_owned);
            let rest = arguments.strip_prefix(&["pair".to_owned()][..]).expect("to pair");
            let line = [
                &[env!("CARGO_BIN_EXE_wslnet-companion").to_owned()],
                &flags[..],
                &words,
                rest,
            ]
            .concat();
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            answer(windows.run_with(&line, input))
        }),
    );
    let installed = "/mnt/c/Program Files/wslnet";
    distro.machine.run(&["mkdir", "-p", installed]).ok();
    distro
        .machine
        .run(&["cp", &exe.program.display().to_string(), installed])
        .ok();

    // It is started for a pairing and for nothing else.
    let doctor = distro.cli(&["doctor"]);
    let found = "wslnet-companion.exe is installed";
    assert!(doctor.stdout.contains(found), "{doctor:?}");

    let paired = distro.cli(&["pair"]);

    assert_eq!(paired.code, 0, "{paired:?}");
    assert!(
        paired.stdout.contains("ubuntu: paired and connected"),
        "{paired:?}"
    );
    distro.until_connected();

    // What Windows' half says and its exit code are passed on.
    distro.stop();
    let failed = distro.cli(&["pair"]);
    assert_eq!(failed.code, PAIRED_ONLY);
    assert!(failed.stderr.contains("wslnetd is not running"), "{failed:?}");

    // A program of Windows that nobody runs: interop is off.
    let put = format!("printf 'MZ\\220\\000' >'{installed}/wslnet-companion.exe'");
    distro.machine.run(&["/bin/sh", "-c", &put]).ok();
    let off = distro.cli(&["pair"]);
    assert_eq!(off.code, 1);
    assert!(
        off.stderr.contains("interop is off") && off.stderr.contains(line),
        "{off:?}"
    );
}
