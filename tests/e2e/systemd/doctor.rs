//! The doctor under a real systemd: the unit, its sandbox as the kernel has it, and a chain that is whole.

use serde_json::Value;

use super::paired;
use crate::bench::{SOON, SystemdDistro, World, check, eventually};

/// The findings of one check that are not good.
fn troubles(distro: &SystemdDistro, check: &str) -> Vec<String> {
    let ran = distro.run(&["wslnetd", "doctor", "--json"]);
    let rows: Vec<Value> =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    rows.iter()
        .filter(|row| row["check"] == check && row["level"] != "ok")
        .map(|row| format!("{} {} -> {}", row["level"], row["text"], row["fix"]))
        .collect()
}

#[test]
fn a_whole_chain_is_good_and_each_fault_of_the_unit_is_found() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    let fails = |check: &str, word: &str| {
        let ran = distro.run(&["wslnetd", "doctor"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        let found = troubles(&distro, check);
        assert!(
            found
                .iter()
                .any(|one| one.starts_with("\"fail") && one.contains(word)),
            "{found:?}"
        );
    };
    fails("systemd", "does not run");
    distro
        .systemctl(&["enable", "--now", "wslnetd-engines.socket", "wslnetd.service"])
        .ok();
    eventually(SOON, || {
        let status = distro.status()?;
        check(status["companion"]["state"] == "connected", || status.to_string())
    });

    let good = distro.run(&["wslnetd", "doctor"]);
    assert_eq!(good.code, 0, "{good:?}");
    for line in [
        "ok   systemd   wslnetd.service runs",
        "ok   sandbox   the daemon runs as a user of its own",
        "ok   companion both sides have proven the keys",
        "ok   daemon    connected, Windows knows this distro as ubuntu",
    ] {
        assert!(good.stdout.contains(line), "{good:?}");
    }
    assert!(!good.stdout.contains("fail"), "{good:?}");
    // As a user without rights.
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "wslnetd",
        "doctor",
    ];
    let as_user = distro.run(&nobody);
    assert_eq!(as_user.code, 0, "{as_user:?}");
    for line in ["skip sandbox   only root", "skip companion only root"] {
        assert!(as_user.stdout.contains(line), "{as_user:?}");
    }

    distro.systemctl(&["disable", "wslnetd.service"]).ok();
    assert!(troubles(&distro, "systemd")[0].contains("does not start with the distro"));
    // Somebody has taken the confinement away.
    let drop_in = "/etc/systemd/system/wslnetd.service.d/loose.conf";
    distro.write(
        drop_in,
        "[Service]\nUser=root\nCapabilityBoundingSet=~\nNoNewPrivileges=no\n",
    );
    distro.systemctl(&["daemon-reload"]).ok();
    distro.systemctl(&["restart", "wslnetd.service"]).ok();
    fails("sandbox", "runs as root");
    fails("sandbox", "more rights than it needs");

    distro.run(&["rm", drop_in]).ok();
    distro.write("/etc/wslnetd/config.toml", "opt-outs = []\n");
    fails("config", "config.toml:1");
}
