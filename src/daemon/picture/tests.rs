//! What is pushed for which listeners.

mod bridged;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use wslnet_protocol::{Bind, ForwardId, ForwardSet, ForwardState, ForwardStatus, Protocol, Reach, limits};

use super::fixture::{OWN_PID, VM, World, bound, foreign, foreign_at, ours, tcp};
use super::{Asked, Pushed};
use crate::bridge::{Bridge, BridgeState};
use crate::labels::Declared;
use crate::network::NetworkMode;
use crate::observe::Listener;
use crate::units::fixture::tell;

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
    assert!(!forward.loopback_gap, "WSL forwards it itself");
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
    assert!(set.forwards[0].loopback_gap, "WSL forwards no such address");
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
fn a_port_waits_while_it_is_not_known_who_owns_another_socket_that_a_dial_could_meet() {
    let undecided = |listener: Listener| Listener {
        is_decided: false,
        ..listener
    };
    for (other, waits) in [
        (foreign(2, 8000), true),
        (ours(2, 8000), true),
        (foreign_at(2, Ipv4Addr::LOCALHOST.into(), 8000), false),
        (foreign(2, 8001), false),
    ] {
        let port = other.socket.address;
        let world = World::with(vec![ours(1, 8000), undecided(other)]);

        let picture = world.picture();

        assert_eq!(set(&world).forwards.is_empty(), waits, "{port}");
        assert_eq!(set(&world).revoked, [], "{port}");
        let asked = &picture.entries[0].asked;
        assert_eq!(
            matches!(asked, Asked::Waits { reason } if reason.contains("found out")),
            waits
        );
    }
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
        for holder in half
            .owner
            .iter_mut()
            .flat_map(|owner| &mut Arc::make_mut(owner).holders)
        {
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
fn two_processes_that_hold_a_port_for_one_container_are_a_pair() {
    let held_by = |id, address: IpAddr, pid, container| {
        let mut half = bound(id, address, 8000);
        half.socket.v6only = address.is_ipv6().then_some(true);
        for holder in half
            .owner
            .iter_mut()
            .flat_map(|owner| &mut Arc::make_mut(owner).holders)
        {
            holder.pid = pid;
        }
        half.labels.insert("container", container);
        half
    };
    for (container, twin) in [("web", Some(ForwardId(1))), ("db", None)] {
        let world = World::with(vec![
            held_by(1, Ipv4Addr::UNSPECIFIED.into(), 7, "web"),
            held_by(2, Ipv6Addr::UNSPECIFIED.into(), 8, container),
        ]);

        let half = world.picture().entries.remove(1);

        assert_eq!(half.twin, twin, "{container}");
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
    world.answers().insert(ForwardId(1), open);
    let mut pushed = Pushed::default();
    pushed.note_answers(&world.picture());
    world.listeners.push(ours(2, 8000));
    // The companion was restarted meanwhile and has answered nothing yet.
    world.answers().clear();

    let set = world.picture().set(&pushed).unwrap_or_default();

    assert_eq!(ports(&set), [9000, 8000]);
}

#[test]
fn a_flapping_port_waits() {
    let mut world = World::with(vec![ours(1, 8000), ours(2, 8001)]);
    world.held.until = BTreeMap::from([((tcp(8000), 1000), world.now + Duration::from_secs(3))]);

    assert_eq!(ports(&set(&world)), [8001]);
    assert!(
        matches!(&world.picture().entries[0].asked, Asked::Waits { reason } if reason.contains("too often"))
    );
}

#[test]
fn labels_of_the_whole_picture_join_those_of_the_socket() {
    let mut world = World::with(vec![bound(1, VM.into(), 8000), ours(2, 8001)]);
    world.config = "opt-out = [\"interface=eth0\"]";

    let picture = world.picture();

    let labels = |entry: usize| picture.entries[entry].labels.to_string();
    assert!(
        labels(0).ends_with("uid=1000 interface=eth0 distro=Debian"),
        "{}",
        labels(0)
    );
    assert!(labels(1).ends_with("uid=1000 distro=Debian"), "{}", labels(1));
    assert_eq!(ports(&set(&world)), [8001]);
}

#[test]
fn who_came_first_keeps_the_port_that_a_rule_gives_to_both() {
    let mut world = World::with(vec![ours(1, 7100), ours(2, 7101)]);
    world.listeners[0].since += Duration::from_secs(1);
    world.config = "[[rule]]\nwhen = \"port=7100-7102\"\nlisten-port = 80\n";

    let set = set(&world);

    let asked = set
        .forwards
        .iter()
        .map(|forward| (forward.port, forward.listen_port));
    assert_eq!(asked.collect::<Vec<_>>(), [(7101, 80)]);
}

#[test]
fn another_user_on_the_port_makes_nobody_wait() {
    let mut stranger = bound(2, Ipv4Addr::new(127, 0, 0, 2).into(), 8000);
    stranger.socket.uid = 1001;
    let mut world = World::with(vec![ours(1, 8000), stranger]);
    world.held.until = BTreeMap::from([((tcp(8000), 1001), world.now + Duration::from_secs(3))]);

    assert_eq!(ports(&set(&world)), [8000]);
}

#[test]
fn a_port_that_a_rule_names_comes_first_and_an_auto_one_gives_way() {
    let mut world = World::with(vec![ours(1, 8000), ours(2, 8888), ours(3, 8889), ours(4, 9000)]);
    world.config = concat!(
        "[[rule]]\nwhen = \"port=8000\"\nlisten-port = 8888\n",
        "[[rule]]\nwhen = \"port=9000\"\nlisten-port = 8888\n",
        "[[rule]]\nwhen = \"port=8888\"\nlisten-port = \"auto\"\n",
    );

    let picture = world.picture();
    let set = set(&world);

    let asked = set
        .forwards
        .iter()
        .map(|forward| (forward.port, forward.listen_port, forward.auto));
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [(8000, 8888, false), (8889, 8889, false), (8888, 8890, true)]
    );
    assert!(
        matches!(&picture.entries[3].asked, Asked::Nothing { reason } if reason.contains("asked for by tcp port 8000")),
        "{:?}",
        picture.entries[3].asked
    );
    assert_eq!(set.validate(), Ok(()));
}

const BRIDGE: &str = "[[rule]]\nwhen = \"port=5173\"\nloopback = \"bridge\"\n";

#[test]
fn tcp_and_udp_on_one_port_are_two_forwards() {
    let mut udp = ours(2, 8000);
    udp.socket.protocol = Protocol::Udp;
    let mut world = World::with(vec![ours(1, 8000), udp]);
    world.config = "[[rule]]\nwhen = \"port=8000\"\nudp = true\n";
    world.held.until = BTreeMap::from([((tcp(8000), 1000), world.now + Duration::from_secs(3))]);
    let held = set(&world);
    assert_eq!(held.forwards[0].protocol, Protocol::Udp);
    assert_eq!(held.forwards.len(), 1);

    world.held.until.clear();

    assert_eq!(set(&world).forwards.len(), 2);
    assert_eq!(set(&world).validate(), Ok(()));
}

#[test]
fn while_it_is_not_known_what_a_program_says_its_port_waits_and_nothing_is_cut() {
    let mut world = World::with(vec![ours(1, 8000)]);
    let mut pushed = Pushed::default();
    pushed.settle();
    pushed.remember(&world.picture());
    world.listeners[0]
        .owner
        .iter_mut()
        .for_each(|owner| Arc::make_mut(owner).declared = Declared::Pending);

    let set = world.picture().set(&pushed).unwrap_or_default();

    assert_eq!(set, ForwardSet::default());
    assert!(matches!(world.picture().entries[0].asked, Asked::Waits { .. }));
}

#[test]
fn in_other_networking_modes_nothing_is_asked_for() {
    for mode in [
        NetworkMode::Bridged,
        NetworkMode::None,
        NetworkMode::Unknown("new".to_owned()),
    ] {
        let mut world = World::with(vec![ours(1, 8000)]);
        world.mode.mode = mode;

        assert_eq!(set(&world).forwards, []);
    }
}

#[test]
fn a_listener_waits_for_the_word_of_its_unit_and_follows_it() {
    let mut world = World::with(vec![of_nginx(1, 8000), ours(2, 8001)]);
    world.now = world.listeners[0].since;

    let before = world.picture();
    let asked = &before.entries[0].asked;
    assert!(
        matches!(asked, Asked::Waits { reason } if reason.contains("nginx.service")),
        "{asked:?}"
    );
    assert!(before.recheck.is_some_and(|recheck| recheck > world.now));
    assert_eq!(ports(&set(&world)), [8001]);

    tell(&mut world.units, "nginx.service", world.now, Some("off"));
    let off = world.picture();
    let asked = &off.entries[0].asked;
    assert!(
        matches!(asked, Asked::Nothing { reason } if reason.contains("WSLNETD=off")),
        "{asked:?}"
    );
    assert_eq!(off.recheck, None);
    assert!(off.entries[0].labels.contains("wslnetd", "off"));

    tell(&mut world.units, "nginx.service", world.now, Some("host"));
    assert_eq!(set(&world).forwards[0].reach, Reach::Host);

    tell(&mut world.units, "nginx.service", world.now, None);
    assert_eq!(set(&world).forwards[0].reach, Reach::Lan);
}

#[test]
fn a_unit_and_its_program_narrow_each_other() {
    let mut world = World::with(vec![of_nginx(1, 8000)]);
    world.listeners[0].labels.insert("wslnetd", "host");

    tell(&mut world.units, "nginx.service", world.now, Some("lan"));
    assert_eq!(set(&world).forwards[0].reach, Reach::Host);

    tell(&mut world.units, "nginx.service", world.now, Some("off"));
    assert_eq!(ports(&set(&world)), [0_u16; 0]);
}

#[test]
fn what_is_private_anyway_waits_for_no_unit() {
    let mut world = World::with(vec![of_nginx(1, 8000)]);
    world.now = world.listeners[0].since;
    world.config = "opt-out = [\"port=8000\"]";

    let picture = world.picture();

    assert!(matches!(picture.entries[0].asked, Asked::Nothing { .. }));
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

/// A listener of nginx.service.
fn of_nginx(id: u64, port: u16) -> Listener {
    let mut listener = ours(id, port);
    for holder in listener
        .owner
        .iter_mut()
        .flat_map(|owner| &mut Arc::make_mut(owner).holders)
    {
        holder.units = vec!["nginx.service".to_owned()];
    }
    listener
}
