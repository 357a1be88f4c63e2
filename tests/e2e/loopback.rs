//! Services that listen on loopback: private, with the rule that would share them; and bridged where that rule is there.

use std::io::{Read, Write};

use crate::bench::{
    A_SECOND, Client, Rig, SOON, VM, WINDOWS, World, check, eventually, guest, listen_on, stays, stock_redis,
};

const RULE: &str = "[[rule]]\nwhen = \"process=python3,port=5173\"\nloopback = \"bridge\"\n";

#[test]
fn a_development_server_is_private_and_explain_gives_the_rule_that_shares_it() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _vite = listen_on(&rig.distro.machine, "127.0.0.1", 5173);
    rig.distro.until_withheld(5173);
    stays(A_SECOND, || {
        let open = rig.client.open_among(WINDOWS, &[5173]);
        check(open.is_empty(), || format!("open: {open:?}"))
    });

    let told = rig.distro.cli(&["explain", "5173"]).ok();
    let rule: String = told
        .lines()
        .skip_while(|line| !line.contains("[[rule]]"))
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    assert_eq!(
        rule.trim(),
        RULE.replace("process=python3,port=5173", "port=5173,process=python3")
            .trim()
    );
    rig.distro.reconfigure(&rule);

    eventually(SOON, || {
        rig.client
            .fetch(WINDOWS, 5173, "/")
            .map(drop)
            .map_err(|error| error.to_string())
    });
    let row = rig.distro.listeners(5173).unwrap();
    assert!(row.iter().any(|one| one["state"] == "active"), "{row:?}");
}

#[test]
fn both_loopbacks_of_the_machine_can_be_bridged() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro.reconfigure(
        "[[rule]]\nwhen = \"port=5173\"\nloopback = \"bridge\"\n[[rule]]\nwhen = \"port=80\"\nloopback = \"bridge\"\n",
    );
    let _v6 = listen_on(&rig.distro.machine, "::1", 5173);
    let _low = listen_on(&rig.distro.machine, "127.0.0.1", 80);

    for port in [5173, 80] {
        eventually(SOON, || {
            rig.client
                .fetch(WINDOWS, port, "/")
                .map(drop)
                .map_err(|error| error.to_string())
        });
    }
}

#[test]
fn a_bridge_serves_nobody_but_the_companion() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro.reconfigure(RULE);
    let _vite = listen_on(&rig.distro.machine, "127.0.0.1", 5173);
    rig.client.until_open(SOON, WINDOWS, 5173);

    // A neighbour in the VM's network, as a container or another distro's program is.
    let neighbour = Client::new(world.vm.clone());
    let answer = neighbour.fetch(VM, 5173, "/");

    assert!(answer.is_err(), "{answer:?}");
    assert!(rig.client.fetch(WINDOWS, 5173, "/").is_ok());
}

#[test]
fn when_the_rule_goes_the_bridge_goes_with_its_connections() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro.reconfigure(&RULE.replace("process=python3,", ""));
    let _echo = guest(
        &rig.distro.machine,
        "echo",
        "s = listener(5173, '127.0.0.1')\nc, _ = s.accept()\nwhile (part := c.recv(100)): c.sendall(part)\n",
    );
    let mut stream = eventually(SOON, || {
        let mut stream = rig
            .client
            .connect(WINDOWS, 5173)
            .map_err(|error| error.to_string())?;
        let asked = stream
            .write_all(b"hello")
            .and_then(|()| stream.read_exact(&mut [0; 5]));
        asked.map_err(|error| error.to_string())?;
        Ok(stream)
    });

    rig.distro.reconfigure("");

    rig.client.until_closed(SOON, WINDOWS, 5173);
    let ended = stream.read(&mut [0; 1]);
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    let inside = Client::new(world.vm.clone());
    inside.until_closed(SOON, VM, 5173);
}

#[test]
fn a_network_client_of_redis_stays_one_unless_a_rule_makes_it_local() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _wide = stock_redis(&rig.distro.machine, 6390, Some("0.0.0.0"));
    let _local = stock_redis(&rig.distro.machine, 6391, None);
    rig.client.until_open(SOON, WINDOWS, 6390);

    // Protected mode: who is not local is sent away.
    let told = rig.client.ask(WINDOWS, 6390, "").unwrap();
    assert!(told.starts_with("-DENIED"), "{told}");
    let open = rig.client.open_among(WINDOWS, &[6391]);
    assert!(open.is_empty(), "{open:?}");

    rig.distro
        .reconfigure("[[rule]]\nwhen = \"port=6391\"\nloopback = \"bridge\"\n");
    let answer = eventually(SOON, || {
        let answer = rig.client.ask(WINDOWS, 6391, "PING\r\nQUIT\r\n");
        answer.map_err(|error| error.to_string())
    });
    assert!(answer.starts_with("+PONG"), "{answer}");
}
