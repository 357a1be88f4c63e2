//! What owners say in the units of their services, with a server that does not let its environment be read.

use std::time::Duration;

use super::{WEB, paired};
use crate::bench::{
    A_SECOND, Companion, SOON, SystemdDistro, WINDOWS, World, check, eventually, require_program, stays,
};

const NGINX: &str = "nginx.service";
const DROP_IN: &str = "/etc/systemd/system/nginx.service.d/wslnetd.conf";
/// nginx on all IPv4 addresses.
const NGINX_CONFIG: &str = "\
user www-data;
pid /run/nginx.pid;
events {}
http { server { listen 8080; location / { return 200 hello; } } }
";

#[test]
fn what_a_unit_says_holds_although_its_program_overwrites_its_environment() {
    require_program("nginx", "nginx-light");
    let world = World::new();
    let (companion, distro) = paired(&world);
    distro.write("/etc/nginx/nginx.conf", NGINX_CONFIG);
    distro.start("web", &WEB);
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    world.client.until_open(SOON, WINDOWS, 8000);

    say(&distro, Some("off"));
    let reason = eventually(SOON, || outcome(&distro, "withheld"));
    assert!(reason.contains("WSLNETD=off"), "{reason}");
    // By its own environment it says nothing, neither the master nor a worker.
    let found = distro.run(&[
        "sh",
        "-c",
        "cat $(pgrep nginx | sed 's|.*|/proc/&/environ|') | grep -ac WSLNETD",
    ]);
    assert_eq!(found.stdout.trim(), "0", "nginx kept its environment: {found:?}");
    // A daemon that starts after it does not share it either.
    distro.systemctl(&["restart", "wslnetd.service"]).ok();
    eventually(SOON, || outcome(&distro, "withheld"));
    stays(A_SECOND, || {
        let open = world.client.open_among(WINDOWS, &[8080]);
        check(open.is_empty(), || "it is open".to_owned())
    });
    never_asked_for(&companion);

    say(&distro, Some("host"));
    eventually(SOON, || {
        let forwards = companion.forwards(8080)?;
        let is_for_windows =
            |forward: &serde_json::Value| forward["reach"] == "host" && forward["state"] == "active";
        check(forwards.iter().any(is_for_windows), || format!("{forwards:?}"))
    });
    world.client.until_closed(SOON, WINDOWS, 8080);

    say(&distro, None);
    world.client.until_open(SOON, WINDOWS, 8080);
    assert_eq!(
        world
            .client
            .ask(WINDOWS, 8080, "GET / HTTP/1.0\r\n\r\n")
            .map(|text| text.ends_with("hello"))
            .ok(),
        Some(true)
    );
}

#[test]
fn a_bus_that_hangs_is_told_of_and_holds_nobody_up() {
    let world = World::new();
    let (_companion, distro) = paired(&world);
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    let bus = distro
        .systemctl(&["show", "--value", "--property=MainPID", "dbus.service"])
        .ok();
    distro.run(&["kill", "-STOP", bus.trim()]).ok();

    distro.start("web", &WEB);

    world.client.until_open(SOON, WINDOWS, 8000);
    let status = distro.status().unwrap();
    let trouble = status["unit_trouble"].as_str().unwrap_or_default().to_owned();
    assert!(trouble.contains("did not answer"), "{status}");
    assert!(distro.journal().contains("did not answer"));

    // A daemon that comes back holds its first word back, and does not close what its predecessor has opened.
    distro
        .systemctl(&["kill", "--signal=KILL", "wslnetd.service"])
        .ok();
    stays(Duration::from_secs(6), || {
        let open = world.client.open_among(WINDOWS, &[8000]);
        check(!open.is_empty(), || "closed".to_owned())
    });

    distro.run(&["kill", "-CONT", bus.trim()]).ok();
    eventually(SOON, || {
        let status = distro.status()?;
        check(status["unit_trouble"].is_null(), || status.to_string())
    });
    assert_eq!(world.client.open_among(WINDOWS, &[8000]), [8000].into());
}

/// Restarts nginx with this in its unit, as its owner does it.
fn say(distro: &SystemdDistro, word: Option<&str>) {
    match word {
        Some(word) => distro.write(DROP_IN, &format!("[Service]\nEnvironment=WSLNETD={word}\n")),
        None => {
            distro.run(&["rm", DROP_IN]).ok();
        }
    }
    distro.systemctl(&["daemon-reload"]).ok();
    distro.systemctl(&["restart", NGINX]).ok();
}

/// Why the port of nginx is in this state.
fn outcome(distro: &SystemdDistro, state: &str) -> Result<String, String> {
    let rows: Vec<serde_json::Value> = distro.run(&["wslnetd", "list", "--json"]).json()?;
    let row = rows
        .iter()
        .find(|row| row["port"] == 8080 && row["state"] == state);
    let reason = row.and_then(|row| row["reason"].as_str());
    reason.map(str::to_owned).ok_or_else(|| format!("{rows:?}"))
}

/// Windows was never asked for the port of nginx, not for a moment.
fn never_asked_for(companion: &Companion<'_>) {
    let log = companion.program().log();
    assert!(log.contains("8000") && !log.contains("8080"), "{log}");
}
