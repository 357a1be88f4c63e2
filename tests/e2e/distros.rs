//! Several distros: one network, and processes of their own.

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::bench::{A_SECOND, Rig, SOON, WINDOWS, World, check, guest, stays, web};

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
    let first = web(&rig.distro.machine, 8000);
    rig.distro.until_state(8000, "active");

    // Ports are unique in the VM, so two distros want the same one only while one of them cannot say that it has let go.
    rig.distro.signal(Signal::SIGSTOP);
    first.kill();
    let _second = guest(&other.machine, "second", "serve(listener(8000), b'second')");
    let conflict = other.until_state(8000, "conflict");
    let reason = conflict["reason"].as_str().unwrap();
    assert!(reason.contains("ubuntu"), "{reason}");

    other.until(Duration::from_secs(20), 8000, |listener| {
        listener["state"] == "active"
    });
    assert_eq!(rig.client.ask(WINDOWS, 8000, "").unwrap(), "second");
    rig.distro.signal(Signal::SIGCONT);
    rig.distro.until_connected();
    assert_eq!(rig.client.ask(WINDOWS, 8000, "").unwrap(), "second");
}

#[test]
fn a_port_group_across_two_distros_is_nobodys_to_expose() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let mut other = rig.another("debian");
    other.start_connected();
    let member = |machine| guest(machine, "member", "serve(listener(8000, reuse_port=True), b'x')");
    let _first = member(&rig.distro.machine);
    rig.distro.until_state(8000, "active");

    // The kernel would hand a part of the connections to the other distro, whatever its policy says.
    let second = member(&other.machine);
    rig.client.until_closed(SOON, WINDOWS, 8000);
    for distro in [&rig.distro, &other] {
        let reason = distro.until_withheld(8000);
        assert!(reason.contains("another distro"), "{reason}");
    }

    second.kill();
    rig.client.until_open(SOON, WINDOWS, 8000);
}
