//! `backend = "portproxy"` with the registry and the service control manager of Wine, and with a stand-in for IP Helper
//! (`tests/iphlpsvc`, which names its limits) that carries the traffic.

use std::time::{Duration, Instant};

use crate::bench::{Distro, SOON, WINDOWS, Windows, World, check, eventually, web};

const ON: &str = "backend = \"portproxy\"\n";
const KEY: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\PortProxy";
/// Somebody's entries: also such as are no entries at all.
const FOREIGN: [(&str, &str, &str, &str); 6] = [
    ("v4tov4", "*/2222", "REG_SZ", "172.28.0.2/22"),
    ("v4tov4", "192.168.50.1/9000", "REG_SZ", "172.28.0.2/9000"),
    ("v4tov4", "192.168.50.1/9001", "REG_EXPAND_SZ", "%x%"),
    ("v4tov4", "no entry", "REG_DWORD", "7"),
    ("v6tov4", "fd00:50::1/9000", "REG_SZ", "172.28.0.2/9000"),
    ("v6tov6", "*/9002", "REG_SZ", "fd00::2/1"),
];
/// Four times as long as Wine's manager waits is what four orders in a row would take.
const HELD_UP: Duration = Duration::from_secs(30);
/// Wine puts its registry on the disk every 30 seconds.
const SAVED: Duration = Duration::from_secs(90);

#[test]
fn a_page_comes_through_the_entries_and_they_are_gone_at_the_end() {
    let world = Windows::world();
    let (windows, mut distro, before) = prepared(&world);
    let companion = windows.start();
    distro.start_connected();

    let server = web(&distro.machine, 8000);
    let _taken = web(&distro.machine, 9000);
    distro.until_state(8000, "active");
    distro.until_state(9000, "conflict");
    // The other family's address may have been the faster one.
    world.client.until_open(SOON * 2, WINDOWS, 8000);
    let page = world.client.fetch(WINDOWS, 8000, "/").unwrap();
    assert!(page.contains("Directory listing"), "{page}");
    let query = windows.reg(&["query", &format!(r"{KEY}\v4tov4\tcp")]);
    assert!(
        query.contains("192.168.50.1/8000    REG_SZ    172.28.0.2/8000"),
        "{query}"
    );

    server.kill();
    world.client.until_closed(SOON, WINDOWS, 8000);
    eventually(SOON, || {
        let now = windows.export(KEY);
        check(now == before, || "the registry is another one".to_owned())
    });

    let _again = web(&distro.machine, 8002);
    world.client.until_open(SOON * 2, WINDOWS, 8002);
    companion.interrupt();
    world.client.until_closed(SOON, WINDOWS, 8002);
    assert!(windows.export(KEY) == before, "not byte for byte as before");
}

#[test]
fn a_killed_companion_and_a_power_cut_leave_nothing_behind_the_next_start() {
    let world = Windows::world();
    let (windows, mut distro, before) = prepared(&world);
    let companion = windows.start();
    distro.start_connected();
    let server = web(&distro.machine, 8000);
    world.client.until_open(SOON * 2, WINDOWS, 8000);

    companion.kill();
    assert!(windows.export(KEY) != before, "the entry outlives the program");
    let companion = windows.start();
    distro.until_state(8000, "active");
    world.client.until_open(SOON * 2, WINDOWS, 8000);

    eventually(SAVED, || {
        let saved =
            std::fs::read_to_string(windows.file("../system.reg")).map_err(|error| error.to_string())?;
        check(saved.contains("192.168.50.1/8000"), || {
            "not on the disk yet".to_owned()
        })
    });
    companion.kill();
    windows.cut_power();
    server.kill();
    world.client.until_closed(SOON, WINDOWS, 8000);
    assert!(windows.export(KEY) != before, "the entry outlives the power cut");

    let _companion = windows.start();
    eventually(SOON * 2, || {
        let now = windows.export(KEY);
        check(now == before, || "the registry is another one".to_owned())
    });
    world.client.until_closed(SOON, WINDOWS, 8000);
}

#[test]
fn purge_cleans_up_after_a_killed_companion_and_a_stopped_service_is_named() {
    let world = Windows::world();
    let (windows, mut distro, before) = prepared(&world);
    let companion = windows.start();
    distro.start_connected();
    let _web = web(&distro.machine, 8000);
    world.client.until_open(SOON * 2, WINDOWS, 8000);

    windows.ip_helper("stop");
    distro.until(SOON * 2, 8000, |one| {
        let reason = one["reason"].as_str().unwrap_or_default();
        one["state"] == "pending" && reason.contains("sc start iphlpsvc")
    });
    windows.ip_helper("start");
    distro.until(SOON * 2, 8000, |one| one["state"] == "active");

    companion.kill();
    let told = windows.cli(&["purge"]);
    assert!(
        told.contains("removed: v4tov4 192.168.50.1/8000 -> 172.28.0.2/8000"),
        "{told}"
    );
    assert!(windows.export(KEY) == before, "not byte for byte as before");
    world.client.until_closed(SOON, WINDOWS, 8000);
}

/// Wine's manager of services waits ten seconds for a service that does not come back from an order, Windows' thirty.
#[test]
fn an_ip_helper_that_takes_no_order_holds_up_nothing_else() {
    let world = Windows::world();
    let (windows, mut distro, _) = prepared(&world);
    let _companion = windows.start();
    distro.start_connected();
    let server = web(&distro.machine, 8000);
    world.client.until_open(SOON * 2, WINDOWS, 8000);
    let hold = windows.file("iphlpsvc.hold");
    std::fs::write(&hold, "").unwrap();
    let has = |entry: &str| windows.reg(&["query", KEY, "/s"]).contains(entry);
    let start = Instant::now();

    // Each is an order to IP Helper, of which the first is never over.
    for port in 8001..=8003 {
        let _web = web(&distro.machine, port);
        eventually(SOON, || {
            check(has(&format!("192.168.50.1/{port}")), || {
                format!("no entry for {port}")
            })
        });
    }
    server.kill();
    eventually(SOON, || {
        check(!has("192.168.50.1/8000"), || "8000 is still there".to_owned())
    });
    assert!(start.elapsed() < HELD_UP, "{:?}", start.elapsed());

    std::fs::remove_file(hold).unwrap();
    let _web = web(&distro.machine, 8004);
    world.client.until_open(SOON * 2, WINDOWS, 8004);
}

/// Windows with IP Helper and somebody's entries, a distro that is known, and the registry's text.
fn prepared(world: &World) -> (Windows<'_>, Distro, Vec<u8>) {
    let windows = Windows::new(world);
    let distro = Distro::new(world, "ubuntu");
    windows.configure(ON);
    for (table, name, kind, content) in FOREIGN {
        let key = format!(r"{KEY}\{table}\tcp");
        windows.reg(&["add", &key, "/v", name, "/t", kind, "/d", content, "/f"]);
    }
    windows.ip_helper("install");
    let key = windows.cli(&["key"]);
    windows.cli(&["trust", "ubuntu", &distro.key()]);
    distro.cli(&["trust", &key]).ok();
    let before = windows.export(KEY);
    (windows, distro, before)
}
