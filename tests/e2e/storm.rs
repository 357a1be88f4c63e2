//! Listeners that come and go by the thousand: in the end what is open is what listens, and nothing is kept of the rest.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::bench::{Rig, SOON, VM, WINDOWS, World, check, eventually, guest};

/// For all that a storm has left to be put in order, on a busy machine. A port that flapped waits for up to a minute.
const AFTERMATH: Duration = Duration::from_secs(150);
const MEGABYTE: u64 = 1024 * 1024;

/// Opens and closes 5,000 listeners a second (fewer where the machine cannot) for five seconds: a third of the ports once, as
/// ephemeral ones, the others again and again. Then some of those stay open.
const STORM: &str = r#"
import socket, time
def listen(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", port))
    s.listen(16)
    return s
start, count = time.monotonic(), 0
while time.monotonic() < start + 5:
    for n in range(50):
        listen(0 if n % 3 == 0 else 20000 + (count + n) % 200).close()
    count += 50
    ahead = start + count / 5000 - time.monotonic()
    if ahead > 0: time.sleep(ahead)
kept = [listen(20000 + n) for n in range(0, 200, 4)]
print("storm", count, flush=True)
while True: time.sleep(60)
"#;

#[test]
fn after_a_storm_of_listeners_what_is_open_is_what_listens() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let before = rig.distro.daemon().resident();

    let storm = guest(&rig.distro.machine, "storm", STORM);

    eventually(Duration::from_secs(60), || {
        check(storm.log().contains("storm"), || storm.log())
    });
    let kept: BTreeSet<u16> = (20_000..20_200).step_by(4).collect();
    eventually(AFTERMATH, || {
        let open = open_of_ours(&world, WINDOWS);
        check(open == kept, || format!("open on Windows: {open:?}"))
    });
    // What is open on Windows is what the daemon says, and what listens in the VM.
    assert_eq!(open_of_ours(&world, VM), kept);
    let rows = rig.distro.list().unwrap();
    let active = rows.iter().filter(|row| row["state"] == "active");
    let ports: BTreeSet<u64> = active.filter_map(|row| row["port"].as_u64()).collect();
    assert_eq!(ports, kept.iter().map(|port| u64::from(*port)).collect());
    let grown = rig.distro.daemon().resident().saturating_sub(before);
    assert!(grown < 32 * MEGABYTE, "grew by {grown} bytes");

    storm.kill();
    eventually(AFTERMATH, || {
        let open = open_of_ours(&world, WINDOWS);
        check(open.is_empty(), || format!("stale: {open:?}"))
    });
}

#[test]
fn a_thousand_listeners_cost_one_request_and_their_end_a_few() {
    const MANY: &str = "import socket, time\nkept = []\nfor port in range(10000, 11000):\n    s = socket.socket()\n    \
                        s.bind((\"0.0.0.0\", port))\n    s.listen()\n    kept.append(s)\nprint(\"all\", flush=True)\n\
                        while True: time.sleep(60)";
    let world = World::new();
    let mut rig = Rig::new(&world);
    rig.companion.start();
    let many = guest(&rig.distro.machine, "many", MANY);
    eventually(SOON, || check(many.log().contains("all"), || many.log()));
    rig.distro.start_connected();

    let reached = |active: u64| {
        eventually(SOON, || {
            let status: Value = rig.companion.cli(&["status", "--json"]).json()?;
            check(status["active"] == active, || status.to_string())?;
            status["distros"][0]["generation"]
                .as_u64()
                .ok_or_else(|| status.to_string())
        })
    };
    assert_eq!(reached(1000), 1, "what was there is asked for at once");

    // The kernel closes them one after the other, while the daemon looks and pushes.
    many.kill();
    let requests = reached(0) - 1;
    assert!((1..=30).contains(&requests), "{requests} requests");
}

/// Open ports that the storm may have opened.
fn open_of_ours(world: &World, address: &str) -> BTreeSet<u16> {
    let open = if address == VM {
        crate::bench::Client::new(world.windows.net.clone()).all_open(address)
    } else {
        world.client.all_open(address)
    };
    open.into_iter().filter(|port| *port >= 1024).collect()
}
