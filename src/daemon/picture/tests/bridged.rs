//! Services on loopback, and the bridges that share them.

use super::*;

#[test]
fn a_service_on_loopback_is_shared_through_its_bridge_once_that_is_open() {
    let mut world = World::with(vec![bound(1, Ipv4Addr::LOCALHOST.into(), 5173)]);
    world.config = BRIDGE;

    let before = world.picture();

    let bridge = Bridge {
        address: VM.into(),
        port: 5173,
        target: (Ipv4Addr::LOCALHOST, 5173).into(),
    };
    assert_eq!(before.bridges, BTreeMap::from([(1, bridge)]));
    assert!(matches!(before.entries[0].asked, Asked::Waits { .. }));
    assert!(set(&world).forwards.is_empty());

    // It had to take another port.
    let open: SocketAddr = (VM, 40_000).into();
    world.bridges = BTreeMap::from([(1, BridgeState::Open(open))]);
    let mut own = bound(2, VM.into(), 40_000);
    own.owner
        .iter_mut()
        .for_each(|owner| Arc::make_mut(owner).holders[0].pid = OWN_PID);
    world.listeners.push(own);
    let after = world.picture();

    let set = set(&world);
    let asked = set
        .forwards
        .iter()
        .map(|forward| (forward.id, forward.port, forward.listen_port));
    assert_eq!(asked.collect::<Vec<_>>(), [(ForwardId(1), 40_000, 5173)]);
    assert_eq!(after.bridges, before.bridges);
    assert!(
        !after.entries[1].verdict.is_expose(),
        "its own sockets are no services"
    );
}

#[test]
fn a_bridge_on_the_same_port_is_not_taken_for_another_listener() {
    let mut world = World::with(vec![
        bound(1, Ipv4Addr::LOCALHOST.into(), 5173),
        // The daemon does not know yet that it holds this one.
        foreign_at(2, VM.into(), 5173),
    ]);
    world.config = BRIDGE;
    world.bridges = BTreeMap::from([(1, BridgeState::Open((VM, 5173).into()))]);

    assert_eq!(ports(&set(&world)), [5173]);
}

#[test]
fn a_bridge_that_cannot_be_opened_says_why_and_an_opt_out_closes_it() {
    let mut world = World::with(vec![bound(1, Ipv4Addr::LOCALHOST.into(), 5173)]);
    world.config = BRIDGE;
    let reason = "no room".to_owned();
    world.bridges = BTreeMap::from([(1, BridgeState::Failed { reason })]);
    let failed = world.picture();
    assert!(matches!(&failed.entries[0].asked, Asked::Nothing { reason } if reason == "no room"));
    assert_eq!(failed.bridges.len(), 1, "it is tried again");

    world.config = "opt-out = [\"port=5173\"]\n[[rule]]\nwhen = \"port=5173\"\nloopback = \"bridge\"\n";
    assert!(world.picture().bridges.is_empty());
}
