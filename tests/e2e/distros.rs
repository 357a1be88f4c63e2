//! Several distros: one network, and processes of their own.

use std::net::TcpListener;

use crate::bench::{A_SECOND, Rig, SOON, WINDOWS, World, check, eventually, guest, stays, web};

#[test]
fn each_distro_owns_only_its_own_listeners() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let mut other = rig.another("debian");
    other.start_connected();

    let _here = web(&rig.distro.machine, 8000);
    let there = web(&other.machine, 8001);
    rig.distro.until_state(8000, "active");
    other.until_state(8001, "active");

    assert!(
        rig.distro
            .listeners(8001)
            .unwrap()
            .iter()
            .all(|one| one["verdict"] != "expose")
    );
    assert!(
        other
            .listeners(8000)
            .unwrap()
            .iter()
            .all(|one| one["verdict"] != "expose")
    );
    let owner = |port| rig.companion.forwards(port).unwrap()[0]["distro"].clone();
    assert_eq!((owner(8000), owner(8001)), ("ubuntu".into(), "debian".into()));
    assert_eq!(rig.companion.list().unwrap().len(), 2);

    there.kill();
    rig.client.until_closed(A_SECOND, WINDOWS, 8001);
    assert!(rig.client.fetch(WINDOWS, 8000, "/").is_ok());
}

#[test]
fn one_distro_that_leaves_takes_only_its_own_with_it() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let mut other = rig.another("debian");
    other.start_connected();
    let _here = web(&rig.distro.machine, 8000);
    let _there = web(&other.machine, 8001);
    rig.client.until_open(SOON, WINDOWS, 8000);
    rig.client.until_open(SOON, WINDOWS, 8001);

    other.stop();

    rig.client.until_closed(A_SECOND, WINDOWS, 8001);
    stays(A_SECOND, || {
        let open = rig.client.open_among(WINDOWS, &[8000, 8001]);
        check(open == [8000].into(), || format!("open: {open:?}"))
    });
}

#[test]
fn a_socket_that_no_distro_owns_is_left_alone() {
    let world = World::new();
    let rig = Rig::connected(&world);
    // This process stands in no distro, as WSL's own servers and containers of another distro do.
    let _foreign = world.vm.enter(|| TcpListener::bind("0.0.0.0:8000").unwrap());
    let _own = web(&rig.distro.machine, 8001);
    rig.client.until_open(SOON, WINDOWS, 8001);

    stays(A_SECOND, || {
        let open = rig.client.open_among(WINDOWS, &[8000, 8001]);
        check(open == [8001].into(), || format!("open: {open:?}"))
    });
    assert!(
        rig.distro
            .listeners(8000)
            .unwrap()
            .iter()
            .all(|one| one["verdict"] != "expose")
    );
}

#[test]
fn the_first_distro_keeps_a_port_and_the_second_takes_over() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let mut other = rig.another("debian");
    other.start_connected();
    // Ports are unique in the VM, but for groups.
    let member = |machine, answer: &str| {
        let script = format!("serve(listener(8000, reuse_port=True), b'{answer}')");
        guest(machine, answer, &script)
    };

    let first = member(&rig.distro.machine, "first");
    rig.distro.until_state(8000, "active");
    let _second = member(&other.machine, "second");
    let conflict = other.until_state(8000, "conflict");

    let reason = conflict["reason"].as_str().unwrap();
    assert!(reason.contains("ubuntu"), "{reason}");
    assert_eq!(rig.distro.listeners(8000).unwrap()[0]["state"], "active");

    first.kill();
    other.until_state(8000, "active");
    eventually(SOON, || match rig.client.ask(WINDOWS, 8000, "") {
        Ok(answer) if answer == "second" => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
}
