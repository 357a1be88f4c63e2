//! What is pushed for which listeners.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use wslnet_protocol::{Bind, ForwardId, ForwardSet, Reach, limits};

use super::Asked;
use super::fixture::{VM, World, bound, foreign, ours};
use crate::network::NetworkMode;

#[test]
fn nothing_is_pushed_before_the_first_scan() {
    let mut world = World::with(vec![ours(1, 8000)]);
    world.scanned = false;

    assert_eq!(world.picture().set(&BTreeSet::new()), None);
}

#[test]
fn a_listener_becomes_a_forward_with_its_labels() {
    let set = set(&World::with(vec![ours(1, 8000)]));

    let [forward] = set.forwards.as_slice() else {
        panic!("{set:?}")
    };
    assert_eq!(
        (forward.id, forward.port, forward.listen_port),
        (ForwardId(1), 8000, 8000)
    );
    assert_eq!((forward.bind, forward.reach), (Bind::Wildcard, Reach::Lan));
    assert_eq!(forward.labels, ["process=node", "exe=/usr/bin/node", "user=ann"]);
    assert_eq!(set.validate(), Ok(()));
}

#[test]
fn the_vms_own_address_is_shared_and_loopback_is_not() {
    let set = set(&World::with(vec![
        bound(1, VM.into(), 8000),
        bound(2, Ipv4Addr::LOCALHOST.into(), 8001),
    ]));

    assert_eq!(ports(&set), [8000]);
    assert_eq!(set.forwards[0].bind, Bind::Address);
}

#[test]
fn reach_comes_from_the_configuration() {
    let mut world = World::with(vec![ours(1, 8000)]);
    world.config = "[expose]\nreach = \"host\"";

    assert_eq!(set(&world).forwards[0].reach, Reach::Host);
}

#[test]
fn others_sockets_are_never_asked_for() {
    assert_eq!(set(&World::with(vec![foreign(1, 8000)])), ForwardSet::default());
}

#[test]
fn a_port_shared_with_a_stranger_is_not_asked_for() {
    let world = World::with(vec![ours(1, 8000), foreign(2, 8000)]);

    assert_eq!(set(&world), ForwardSet::default());
    let picture = world.picture();
    assert!(
        matches!(&picture.entries[0].asked, Asked::Nothing { reason } if reason.contains("shares its port"))
    );
}

#[test]
fn the_sockets_of_a_reuseport_group_are_one_forward() {
    let set = set(&World::with(vec![ours(5, 8000), ours(3, 8000), ours(4, 8000)]));

    assert_eq!(
        set.forwards.iter().map(|forward| forward.id).collect::<Vec<_>>(),
        [ForwardId(3)]
    );
}

#[test]
fn over_the_limit_the_lowest_ports_are_taken_first() {
    let mut world = World::with(
        (0..5)
            .rev()
            .map(|n| ours(10 + n, 8000 + u16::try_from(n).unwrap_or(0)))
            .collect(),
    );
    world.companion.max_forwards = 3;

    assert_eq!(ports(&set(&world)), [8000, 8001, 8002]);
    let over = world
        .picture()
        .entries
        .into_iter()
        .filter(|entry| entry.asked == Asked::OverLimit { limit: 3 });
    assert_eq!(over.count(), 2);
}

#[test]
fn the_largest_set_fits_into_one_request() {
    let listeners = (0..limits::FORWARDS_IN_SET).map(|n| {
        let mut listener = ours(u64::MAX / 2 - n as u64, 10_000 + u16::try_from(n).unwrap_or(0));
        for holder in 0..8 {
            listener
                .labels
                .insert("process", format!("{holder}{}", "\u{fffd}".repeat(100)));
        }
        listener
    });
    let mut world = World::with(listeners.collect());
    world.companion.max_forwards = limits::FORWARDS_IN_SET;

    let set = set(&world);

    assert_eq!(set.forwards.len(), limits::FORWARDS_IN_SET);
    assert_eq!(set.validate(), Ok(()));
    assert!(serde_json::to_vec(&set).map_or(0, |json| json.len()) <= limits::BODY_BYTES);
    assert!(!set.forwards[0].labels.is_empty());
}

#[test]
fn a_flapping_port_waits() {
    let mut world = World::with(vec![ours(1, 8000), ours(2, 8001)]);
    world.held.until = BTreeMap::from([(8000, world.now + Duration::from_secs(3))]);

    assert_eq!(ports(&set(&world)), [8001]);
    assert!(matches!(&world.picture().entries[0].asked, Asked::Waits { reason } if reason.contains("4 s")));
}

#[test]
fn what_was_shared_and_is_private_now_is_revoked() {
    let mut world = World::with(vec![ours(1, 8000), ours(2, 8001)]);
    world.config = "opt-out = [\"port=8000\"]";

    let set = world
        .picture()
        .set(&BTreeSet::from([ForwardId(1), ForwardId(2)]))
        .unwrap_or_default();

    assert_eq!(ports(&set), [8001]);
    assert_eq!(set.revoked, [ForwardId(1)]);
    assert_eq!(set.validate(), Ok(()));
}

#[test]
fn a_listener_that_is_gone_is_not_revoked() {
    let world = World::with(vec![]);

    let set = world
        .picture()
        .set(&BTreeSet::from([ForwardId(1)]))
        .unwrap_or_default();

    assert_eq!(set, ForwardSet::default());
}

#[test]
fn in_other_networking_modes_nothing_is_asked_for() {
    for mode in [
        NetworkMode::Mirrored,
        NetworkMode::VirtioProxy,
        NetworkMode::Unknown("new".to_owned()),
    ] {
        let mut world = World::with(vec![ours(1, 8000)]);
        world.mode.mode = mode;

        assert_eq!(set(&world), ForwardSet::default());
    }
}

fn set(world: &World) -> ForwardSet {
    world
        .picture()
        .set(&BTreeSet::new())
        .unwrap_or_else(|| panic!("a scan was made"))
}

fn ports(set: &ForwardSet) -> Vec<u16> {
    set.forwards.iter().map(|forward| forward.listen_port).collect()
}
