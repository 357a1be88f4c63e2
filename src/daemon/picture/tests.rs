//! What is pushed for which listeners.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use wslnet_protocol::{Bind, ForwardId, ForwardSet, ForwardState, ForwardStatus, Reach, limits};

use super::fixture::{VM, World, bound, foreign, ours};
use super::{Asked, Pushed};
use crate::network::NetworkMode;

#[test]
fn nothing_is_pushed_before_the_first_scan() {
    let mut world = World::with(vec![ours(1, 8000)]);
    world.scanned = false;

    assert_eq!(world.picture().set(&Pushed::default()), None);
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

    assert_eq!(set(&world).forwards, []);
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
fn beyond_what_fits_into_one_set_the_lowest_ports_are_taken_first() {
    let ports_wanted = (0..=limits::FORWARDS_IN_SET).rev();
    let listeners = ports_wanted.map(|n| ours(n as u64, 10_000 + u16::try_from(n).unwrap_or(0)));
    let world = World::with(listeners.collect());

    let set = set(&world);

    assert_eq!(set.forwards.len(), limits::FORWARDS_IN_SET);
    assert_eq!(set.validate(), Ok(()));
    let picture = world.picture();
    let over = picture
        .entries
        .iter()
        .filter(|entry| entry.asked == Asked::OverLimit);
    assert_eq!(
        over.map(|entry| usize::from(entry.listener.socket.address.port()))
            .collect::<Vec<_>>(),
        [10_000 + limits::FORWARDS_IN_SET]
    );
}

#[test]
fn the_ipv6_half_of_a_pair_says_by_what_it_is_shared() {
    let v6_half = |pid| {
        let mut half = bound(2, Ipv6Addr::UNSPECIFIED.into(), 8000);
        half.socket.v6only = Some(true);
        for holder in half.owner.iter_mut().flat_map(|owner| &mut owner.holders) {
            holder.pid = pid;
        }
        half
    };
    for (pid, twin, text) in [
        (
            7,
            Some(ForwardId(1)),
            "IPv6 only; the port is shared through 0.0.0.0:8000",
        ),
        (8, None, "listens on IPv6 only"),
    ] {
        let world = World::with(vec![ours(1, 8000), v6_half(pid)]);

        let half = world.picture().entries.remove(1);

        assert_eq!((half.twin, half.verdict.is_expose()), (twin, false));
        assert!(
            matches!(&half.asked, Asked::Nothing { reason } if reason.starts_with(text)),
            "{half:?}"
        );
        assert_eq!(ports(&set(&world)), [8000]);
    }
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
    // As many again that are revoked.
    let private = (0..limits::FORWARDS_IN_SET).map(|n| bound(n as u64, Ipv4Addr::LOCALHOST.into(), 20_000));
    world.listeners.extend(private);

    let set = set(&world);

    assert_eq!(set.revoked.len(), limits::FORWARDS_IN_SET);

    assert_eq!(set.forwards.len(), limits::FORWARDS_IN_SET);
    assert_eq!(set.validate(), Ok(()));
    assert!(serde_json::to_vec(&set).map_or(0, |json| json.len()) <= limits::BODY_BYTES);
    assert!(!set.forwards[0].labels.is_empty());
}

#[test]
fn what_is_open_comes_before_lower_ports() {
    let mut world = World::with(vec![ours(1, 9000)]);
    let open = ForwardStatus {
        id: ForwardId(1),
        state: ForwardState::Active,
        reason: String::new(),
        listen: Vec::new(),
    };
    world.companion.forwards.insert(ForwardId(1), open);
    let mut pushed = Pushed::default();
    pushed.note_answers(&world.picture());
    world.listeners.push(ours(2, 8000));
    // The companion was restarted meanwhile and has answered nothing yet.
    world.companion.forwards.clear();

    let set = world.picture().set(&pushed).unwrap_or_default();

    assert_eq!(ports(&set), [9000, 8000]);
}

#[test]
fn a_flapping_port_waits() {
    let mut world = World::with(vec![ours(1, 8000), ours(2, 8001)]);
    world.held.until = BTreeMap::from([(8000, world.now + Duration::from_secs(3))]);

    assert_eq!(ports(&set(&world)), [8001]);
    assert!(
        matches!(&world.picture().entries[0].asked, Asked::Waits { reason } if reason.contains("too often"))
    );
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

        assert_eq!(set(&world).forwards, []);
    }
}

fn set(world: &World) -> ForwardSet {
    world
        .picture()
        .set(&Pushed::default())
        .unwrap_or_else(|| panic!("a scan was made"))
}

fn ports(set: &ForwardSet) -> Vec<u16> {
    set.forwards.iter().map(|forward| forward.listen_port).collect()
}
