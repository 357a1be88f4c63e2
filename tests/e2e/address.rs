//! Addresses that change: of the VM, of the gateway, of Windows on the local network.

use crate::bench::{Rig, SOON, VM, WINDOWS, WINDOWS6, World, check, eventually, web};

#[test]
fn a_new_address_of_the_vm_is_followed() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);
    assert_eq!(rig.distro.status().unwrap()["vm_address"], VM);

    world.vm.ip("addr flush dev eth0 scope global");
    world.vm.ip("addr add 172.28.0.99/20 dev eth0");
    world.vm.ip("route add default via 172.28.0.1");

    eventually(SOON, || {
        let status = rig.distro.status()?;
        check(status["vm_address"] == "172.28.0.99", || status.to_string())?;
        let page = rig.client.fetch(WINDOWS, 8000, "/");
        check(page.is_ok(), || format!("{page:?}"))
    });
}

#[test]
fn a_new_network_between_windows_and_the_vm_is_followed() {
    let world = World::new();
    let mut rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    // As after a restart of Windows: another network, and a companion that listens in it.
    rig.companion.kill();
    world.windows.net.ip("addr flush dev vwsl0 scope global");
    world.windows.net.ip("addr add 172.31.0.1/20 dev vwsl0");
    world.vm.ip("addr flush dev eth0 scope global");
    world.vm.ip("addr add 172.31.0.2/20 dev eth0");
    world.vm.ip("route add default via 172.31.0.1");
    rig.companion.start_on("172.31.0.1");

    eventually(SOON, || {
        let page = rig.client.fetch(WINDOWS, 8000, "/");
        check(page.is_ok(), || format!("{page:?}"))
    });
    let status = rig.distro.status().unwrap();
    assert_eq!(status["companion"]["address"], "172.31.0.1:9756");
    assert_eq!(status["vm_address"], "172.31.0.2");
}

#[test]
fn a_default_route_that_vanishes_with_its_address_is_noticed() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    // The kernel announces the address, and never the route that goes with it.
    world.vm.ip("addr flush dev eth0 scope global");
    eventually(SOON, || {
        let status = rig.distro.status()?;
        check(status["companion"]["state"] != "connected", || status.to_string())
    });
    rig.client.until_closed(SOON * 3, WINDOWS, 8000);

    world.vm.ip("addr add 172.28.0.2/20 dev eth0");
    world.vm.ip("route add default via 172.28.0.1");
    rig.client.until_open(SOON, WINDOWS, 8000);
}

#[test]
fn addresses_of_windows_on_the_local_network_are_followed() {
    const SECOND: &str = "192.168.50.7";
    const THIRD: &str = "192.168.50.8";
    let world = World::new();
    let rig = Rig::connected(&world);
    let net = &world.windows.net;
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);
    rig.client.until_open(SOON, WINDOWS6, 8000);

    net.ip("addr add 192.168.50.7/24 dev vlan0");
    rig.client.until_open(SOON, SECOND, 8000);
    let listener = rig.distro.until(SOON, 8000, |listener| {
        listener["windows"]
            .as_array()
            .is_some_and(|all| all.contains(&"192.168.50.7:8000".into()))
    });
    assert_eq!(listener["state"], "active");

    net.ip("addr del 192.168.50.7/24 dev vlan0");
    rig.distro.until(SOON, 8000, |listener| {
        listener["windows"]
            .as_array()
            .is_some_and(|all| !all.contains(&"192.168.50.7:8000".into()))
    });
    assert!(rig.client.fetch(WINDOWS, 8000, "/").is_ok());

    net.ip("addr add 192.168.50.8/24 dev vlan0");
    net.ip("addr del 192.168.50.1/24 dev vlan0");
    // The kernel drops the second address of a network with the first; a lease that changes gives it back.
    net.ip("addr replace 192.168.50.8/24 dev vlan0");
    // It was there for a moment before, and what came in then is cut.
    eventually(SOON, || {
        let fetched = rig.client.fetch(THIRD, 8000, "/");
        fetched.map(drop).map_err(|error| error.to_string())
    });
}

#[test]
fn a_link_that_goes_down_and_up_gets_its_ports_back() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    world.windows.net.ip("link set vlan0 down");
    rig.distro.until(SOON, 8000, |listener| {
        listener["windows"]
            .as_array()
            .is_some_and(|all| !all.contains(&"192.168.50.1:8000".into()))
    });
    world.windows.net.ip("link set vlan0 up");

    rig.client.until_open(SOON, WINDOWS, 8000);
}
