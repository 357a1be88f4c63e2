//! Names of forwards in a hosts file of the companion's: what is in it, what stays of others, and that nothing of ours stays.

use std::path::PathBuf;

use crate::bench::{Client, Rig, SOON, VM, WINDOWS, World, check, eventually, guest, web};

/// What others have in the file, with much that a careless program would change.
const OTHERS: &[u8] = b"\xef\xbb\xbf127.0.0.1 localhost\r\n\xff not UTF-8\r\n10.0.0.9 nas.wsl\r\n\r\n# Added by Docker Desktop\r\n\
                        10.0.0.8 host.docker.internal\r\n# End of section\r\nno end";

const RULES: &str = "[[rule]]\nwhen = \"port=8000\"\nlisten-port = 8888\nname = \"shop\"\n\
                     [[rule]]\nwhen = \"port=8001\"\nname = \"nas\"\n\
                     [[rule]]\nwhen = \"port=8002\"\nname = \"near\"\nreach = \"host\"\n";

#[test]
fn a_name_comes_with_its_forward_goes_with_it_and_leaves_no_trace() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let file = hosts_file(&world);
    rig.companion.start_with_hosts(file.to_str().unwrap());
    rig.distro.start_connected();
    rig.distro.reconfigure(RULES);

    let shop = guest(&rig.distro.machine, "shop", "serve(listener(8000), b'the shop')");
    let _nas = web(&rig.distro.machine, 8001);
    let _near = web(&rig.distro.machine, 8002);

    // The shop's port on Windows is one that WSL leaves free, so Windows has it at its own loopback too.
    until_lines(&file, &["127.0.0.1 shop.wsl", &format!("{VM} near.wsl")]);
    assert!(std::fs::read(&file).unwrap().starts_with(OTHERS));
    // The name leads to where Windows' own programs find the service, at the port that was asked for.
    let windows = Client::new(world.windows.net.clone());
    assert_eq!(windows.ask("127.0.0.1", 8888, "").unwrap(), "the shop");
    assert_eq!(rig.client.ask(WINDOWS, 8888, "").unwrap(), "the shop");
    windows.until_open(SOON, VM, 8002);
    // Both sides say so; the distro is told with the next renewal.
    let says = |port, word: &str| {
        rig.distro
            .until(SOON, port, |row| row["reason"].to_string().contains(word));
    };
    says(8000, "name shop.wsl");
    says(8001, "no name nas.wsl: the hosts file has it");
    let told = rig.distro.cli(&["explain", "8000"]).ok();
    assert!(told.contains("name shop.wsl"), "{told}");
    assert!(rig.companion.cli(&["list"]).ok().contains("name shop.wsl"));
    let status = rig.companion.cli(&["status"]).ok();
    assert!(
        status.contains(&format!("names: 2 in {}", file.display())),
        "{status}"
    );

    shop.kill();
    until_lines(&file, &[&format!("{VM} near.wsl")]);

    rig.companion.stop();
    assert_eq!(std::fs::read(&file).unwrap(), OTHERS);
}

#[test]
fn of_two_distros_the_first_one_keeps_the_name() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let file = hosts_file(&world);
    rig.companion.start_with_hosts(file.to_str().unwrap());
    rig.distro.start_connected();
    let mut other = rig.another("debian");
    other.start_connected();
    for (distro, port) in [(&rig.distro, 8000_u16), (&other, 8001)] {
        let rule = format!("[[rule]]\nwhen = \"port={port}\"\nname = \"shop\"\n");
        distro.reconfigure(&rule);
    }
    let first = web(&rig.distro.machine, 8000);
    until_lines(&file, &[&format!("{WINDOWS} shop.wsl")]);

    let _second = web(&other.machine, 8001);

    other.until(SOON, 8001, |row| {
        row["reason"]
            .to_string()
            .contains("no name shop.wsl: distro `ubuntu` has it")
    });
    first.kill();
    other.until(SOON, 8001, |row| row["reason"] == "name shop.wsl");
}

#[test]
fn a_crash_leaves_names_until_the_next_start_or_until_somebody_removes_them() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let file = hosts_file(&world);
    let path = file.to_str().unwrap();
    rig.companion.start_with_hosts(path);
    rig.distro.start_connected();
    rig.distro
        .reconfigure("[[rule]]\nwhen = \"port=8000\"\nname = \"shop\"\n");
    let _web = web(&rig.distro.machine, 8000);
    until_lines(&file, &[&format!("{WINDOWS} shop.wsl")]);

    rig.companion.kill();
    until_lines(&file, &[&format!("{WINDOWS} shop.wsl")]);
    let removed = rig.companion.cli(&["purge", "--hosts", path]).ok();
    assert!(removed.contains("removed: the names in"), "{removed}");
    assert_eq!(std::fs::read(&file).unwrap(), OTHERS);

    rig.companion.start_with_hosts(path);
    until_lines(&file, &[&format!("{WINDOWS} shop.wsl")]);
    rig.companion.kill();
    rig.distro.stop();
    rig.companion.start_with_hosts(path);
    until_lines(&file, &[]);
    assert_eq!(std::fs::read(&file).unwrap(), OTHERS);
}

#[test]
fn names_can_be_switched_off_and_what_others_undo_is_mended() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let file = hosts_file(&world);
    rig.companion.start_with_hosts(file.to_str().unwrap());
    rig.distro.start_connected();
    rig.distro
        .reconfigure("[[rule]]\nwhen = \"port=8000\"\nname = \"shop\"\n");
    let _web = web(&rig.distro.machine, 8000);
    until_lines(&file, &[&format!("{WINDOWS} shop.wsl")]);

    std::fs::write(&file, "# reset\r\n").unwrap();
    until_lines(&file, &[&format!("{WINDOWS} shop.wsl")]);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("# reset\r\n"));

    rig.companion.place.configure("names = false\n");
    until_lines(&file, &[]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "# reset\r\n");
    rig.distro.until(SOON, 8000, |row| {
        row["reason"].to_string().contains("`names = false`")
    });
    assert!(
        rig.companion
            .cli(&["status"])
            .ok()
            .contains("names: off: `names = false`")
    );
}

#[test]
fn a_companion_that_may_not_write_the_file_does_its_work_and_says_so() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let link = world.new_folder("etc").join("hosts");
    std::os::unix::fs::symlink(hosts_file(&world), &link).unwrap();
    rig.companion.start_with_hosts(link.to_str().unwrap());
    rig.distro.start_connected();
    rig.distro
        .reconfigure("[[rule]]\nwhen = \"port=8000\"\nname = \"shop\"\n");
    let _web = web(&rig.distro.machine, 8000);

    rig.client.until_open(SOON, WINDOWS, 8000);
    rig.distro.until(SOON, 8000, |row| {
        row["state"] == "active" && row["reason"].to_string().contains("is a symbolic link")
    });
    let status = rig.companion.cli(&["status"]).ok();
    assert!(
        status.contains("names: off:") && status.contains("is a symbolic link"),
        "{status}"
    );
}

fn hosts_file(world: &World) -> PathBuf {
    let file = world.new_folder("hosts").join("hosts");
    std::fs::write(&file, OTHERS).unwrap();
    file
}

/// Waits until these are the lines of ours, in whichever order.
fn until_lines(file: &std::path::Path, lines: &[&str]) {
    let mut expected: Vec<String> = lines.iter().map(|line| format!("{line} # wslnet")).collect();
    expected.sort();
    eventually(SOON, || {
        let text = std::fs::read(file).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut ours: Vec<&str> = text.lines().filter(|line| line.ends_with(" # wslnet")).collect();
        ours.sort_unstable();
        check(ours == expected, || text.clone())
    });
}
