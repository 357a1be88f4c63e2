//! What people and programs are told.

use std::net::{Ipv4Addr, Ipv6Addr};

use wslnet_protocol::{ForwardId, ForwardState, ForwardStatus};

use super::{Reader, explain, rows, selectors, status, status_line};
use crate::network::NetworkMode;
use crate::picture::fixture::{World, bound, foreign, ours};
use crate::push::{CompanionView, LinkState};
use crate::units::fixture::fail;

#[test]
fn the_status_line_says_it_all() {
    let world = shared();

    let line = status_line(&world.picture());

    assert_eq!(
        line,
        "2 listeners: 1 exposed on 192.168.1.20, 1 private; companion 172.28.0.1:9756 connected"
    );
}

#[test]
fn one_listener_is_no_listeners() {
    let line = status_line(&World::with(vec![foreign(1, 8000), ours(2, 8001)]).picture());

    assert!(line.starts_with("1 listener: "), "{line}");
}

#[test]
fn a_name_that_the_rules_ask_for_and_nobody_tells_is_no_secret() {
    let mut world = shared();
    world.distro_is_missing = true;

    assert!(status(&world.picture()).distro_is_missing);
    assert!(status_line(&world.picture()).contains("distro's name, which is not known"));
}

#[test]
fn the_status_line_names_windows_own_loopback_only_where_there_is_nothing_else() {
    let mut world = shared();
    let listening_at = |world: &mut World, places: &[&str]| {
        let listen = places.iter().filter_map(|place| place.parse().ok()).collect();
        let forwards = world.answers();
        forwards
            .values_mut()
            .for_each(|forward| forward.listen.clone_from(&listen));
        status_line(&world.picture())
    };

    let both = listening_at(&mut world, &["127.0.0.1:8000", "192.168.1.20:8000"]);
    let one = listening_at(&mut world, &["127.0.0.1:8000"]);

    assert!(both.contains("1 exposed on 192.168.1.20, 1 private"), "{both}");
    assert!(one.contains("1 exposed on 127.0.0.1, 1 private"), "{one}");
}

#[test]
fn the_status_line_tells_what_waits_from_what_is_exposed() {
    let mut world = shared();
    for (id, state) in [
        (4, Some(ForwardState::Pending)),
        (5, Some(ForwardState::Conflict)),
        (6, Some(ForwardState::Denied)),
        (7, Some(ForwardState::OverLimit)),
        (8, None),
    ] {
        world
            .listeners
            .push(ours(id, 8000 + u16::try_from(id).unwrap_or(0)));
        let answers = state.map(|state| (ForwardId(id), answer(state, "why")));
        world.answers().extend(answers);
    }

    let line = status_line(&world.picture());

    assert!(
        line.starts_with("7 listeners: 1 exposed on 192.168.1.20, 1 private, 5 waiting; companion"),
        "{line}"
    );
}

#[test]
fn units_that_cannot_be_heard_are_told_of() {
    let mut world = shared();
    let now = world.now;
    fail(&mut world.units, "nginx.service", now);

    let picture = world.picture();

    assert_eq!(status(&picture).unit_trouble.as_deref(), Some("no bus"));
    let line = status_line(&picture);
    assert!(
        line.ends_with("units cannot be heard, see `wslnetd status`"),
        "{line}"
    );
}

#[test]
fn the_ipv6_half_of_a_pair_counts_as_its_ipv4_half() {
    let mut world = shared();
    let mut half = bound(4, Ipv6Addr::UNSPECIFIED.into(), 8000);
    half.socket.v6only = Some(true);
    world.listeners.push(half);

    let exposed = status_line(&world.picture());
    let withheld = status(&world.picture()).withheld;
    world.answers().clear();
    let waiting = status_line(&world.picture());

    assert!(
        exposed.starts_with("3 listeners: 2 exposed on 192.168.1.20, 1 private;"),
        "{exposed}"
    );
    assert!(
        waiting.starts_with("3 listeners: 0 exposed, 1 private, 2 waiting;"),
        "{waiting}"
    );
    assert_eq!(withheld, 2, "the verdict stays");
}

#[test]
fn a_reader_learns_no_more_of_others_than_proc_tells() {
    let picture = World::with(vec![ours(1, 8000)]).picture();
    let told = |reader| {
        let row = rows(&picture, false, reader).remove(0);
        let walk = explain(&picture, 8000, reader);
        (row.process.clone(), row.pid, format!("{row:?} {walk:?}"))
    };
    let name = Some("node".to_owned());

    for reader in [Reader::Privileged, Reader::User(Some(1000))] {
        let (process, pid, text) = told(reader);
        assert_eq!((process, pid), (name.clone(), Some(7)));
        assert!(
            text.contains("exe=/usr/bin/node") && text.contains("(pid 7)"),
            "{text}"
        );
    }
    for reader in [Reader::User(Some(1001)), Reader::User(None)] {
        let (process, pid, text) = told(reader);
        assert_eq!((process, pid), (name.clone(), None));
        assert!(!text.contains("exe=") && !text.contains("pid 7"), "{text}");
        assert!(text.contains("user=ann"), "{text}");
    }
}

#[test]
fn the_status_line_says_what_is_wrong() {
    let mut world = World::with(vec![ours(1, 8000)]);
    world.mode.mode = NetworkMode::Bridged;
    world.companion = CompanionView::default();

    let line = status_line(&world.picture());

    assert!(
        line.contains("companion searching; networking mode bridged: nothing is exposed"),
        "{line}"
    );
}

#[test]
fn where_ports_are_shared_each_socket_is_told_at_the_addresses_that_it_takes() {
    let mut world = World::with(vec![
        ours(1, 8000),
        bound(2, Ipv6Addr::UNSPECIFIED.into(), 8001),
        bound(3, Ipv4Addr::new(172, 28, 0, 2).into(), 8002),
    ]);
    world.mode.mode = NetworkMode::Mirrored;
    world.companion.peer = Some(Ipv4Addr::LOCALHOST.into());
    for (id, port) in [(1, 8000), (2, 8001), (3, 8002)] {
        let places = ["172.28.0.2", "10.0.0.7", "fd00::2", "127.0.0.1"];
        let mut status = answer(ForwardState::Active, "");
        status.id = ForwardId(id);
        status.listen = places
            .iter()
            .filter_map(|place| Some((place.parse::<std::net::IpAddr>().ok()?, port).into()))
            .collect();
        world.answers().insert(ForwardId(id), status);
    }

    let picture = world.picture();
    let windows = |port: u16| explain(&picture, port, Reader::Privileged).windows.len();

    assert_eq!((windows(8000), windows(8001), windows(8002)), (3, 4, 1));
    assert!(status_line(&picture).ends_with("; networking mode mirrored: ports are shared as they are"));
    assert_eq!(
        status(&picture).vm_address,
        Some(Ipv4Addr::new(172, 28, 0, 2).into())
    );
}

#[test]
fn the_status_counts_ours_apart_from_others() {
    let status = status(&shared().picture());

    assert_eq!(
        (status.listeners, status.exposed, status.withheld, status.foreign),
        (2, 1, 1, 1)
    );
    assert_eq!(
        (status.active, status.vm_address),
        (1, Some(Ipv4Addr::new(172, 28, 0, 2).into()))
    );
}

#[test]
fn rows_carry_state_reason_and_place() {
    let all = rows(&shared().picture(), true, Reader::Privileged);

    let seen = all.iter().map(|row| {
        (
            row.port,
            row.verdict.as_deref(),
            row.state.as_str(),
            row.windows.len(),
        )
    });
    assert_eq!(
        seen.collect::<Vec<_>>(),
        [
            (8000, Some("expose"), "active", 1),
            (8001, Some("withhold"), "withheld", 0),
            (8002, None, "foreign", 0)
        ]
    );
    assert!(
        all.iter().skip(1).all(|row| !row.reason.is_empty()),
        "what is not exposed has a reason"
    );
    assert_eq!(rows(&shared().picture(), false, Reader::Privileged).len(), 2);
}

#[test]
fn without_a_companion_every_forward_waits_and_says_why() {
    let mut world = World::with(vec![ours(1, 8000)]);
    let reason = "172.28.0.1:9756 refused the connection".to_owned();
    world.companion = CompanionView {
        state: LinkState::Connecting,
        reason: reason.clone(),
        ..CompanionView::default()
    };

    let rows = rows(&world.picture(), false, Reader::Privileged);

    assert_eq!((rows[0].state.as_str(), &rows[0].reason), ("pending", &reason));
}

#[test]
fn explain_stops_where_the_way_stops() {
    let loopback = World::with(vec![bound(1, Ipv4Addr::LOCALHOST.into(), 8000)]);
    let mut opted_out = World::with(vec![ours(1, 8000)]);
    opted_out.config = "opt-out = [\n  \"process=node\",\n]";
    let mut bridged = World::with(vec![ours(1, 8000)]);
    bridged.mode.mode = NetworkMode::Bridged;
    let mut unpaired = World::with(vec![ours(1, 8000)]);
    unpaired.companion.state = LinkState::Unpaired;
    unpaired.companion.reason = "run `wslnet-companion trust`".to_owned();
    let mut conflict = World::with(vec![ours(1, 8000)]);
    conflict.answers().insert(
        ForwardId(1),
        answer(ForwardState::Conflict, "held by iis (pid 4)"),
    );

    for (world, step, text) in [
        (&loopback, "policy", "bind to 0.0.0.0"),
        (&opted_out, "policy", "config.toml:2"),
        (&bridged, "networking mode", "bridged"),
        (&unpaired, "companion", "wslnet-companion trust"),
        (&conflict, "windows", "held by iis (pid 4)"),
        (&World::with(vec![foreign(1, 8000)]), "owner", "another distro"),
    ] {
        let walk = explain(&world.picture(), 8000, Reader::Privileged);

        let last = walk.listeners[0]
            .steps
            .last()
            .unwrap_or_else(|| panic!("{walk:?}"));
        assert_eq!((last.name.as_str(), last.passed), (step, false), "{walk:?}");
        assert!(
            last.finding.contains(text) && walk.conclusion.contains(text),
            "{walk:?}"
        );
    }
}

#[test]
fn explain_tells_the_way_to_the_end() {
    let walk = explain(&shared().picture(), 8000, Reader::Privileged);

    assert_eq!(walk.listeners[0].steps.len(), 5);
    assert!(walk.listeners[0].steps.iter().all(|step| step.passed));
    assert_eq!(walk.conclusion, "Port 8000 can be reached at 192.168.1.20:8000.");
}

#[test]
fn explain_gives_the_rule_that_shares_what_is_private() {
    let loopback = World::with(vec![bound(1, Ipv4Addr::LOCALHOST.into(), 8000)]);
    let mut opted_out = World::with(vec![ours(1, 8000)]);
    opted_out.config = "opt-out = [\"process=node\"]";
    let mut ruled = World::with(vec![ours(1, 8000)]);
    ruled.config = "[[rule]]\nwhen = \"user=ann\"\nexpose = false\n";
    let mut conflict = World::with(vec![ours(1, 8000)]);
    conflict
        .answers()
        .insert(ForwardId(1), answer(ForwardState::Conflict, "held by iis"));
    let of = |world: &World| explain(&world.picture(), 8000, Reader::Privileged).advice;
    let rule = |change: &str| Some(format!("[[rule]]\nwhen = \"port=8000,process=node\"\n{change}\n"));

    assert_eq!(of(&loopback), rule("loopback = \"bridge\""));
    assert_eq!(of(&opted_out), rule("expose = true"));
    assert_eq!(of(&ruled), rule("expose = true"));
    assert_eq!(of(&conflict), rule("listen-port = \"auto\""));
    assert_eq!(of(&shared()), None);
    assert_eq!(of(&World::with(vec![foreign(1, 8000)])), None);
    // Neither a bridge nor another port is to be had there.
    for mut world in [loopback, conflict] {
        world.mode.mode = NetworkMode::Mirrored;
        assert_eq!(of(&world), None);
    }
}

#[test]
fn explain_names_the_rule_that_decided() {
    let mut world = shared();
    world.config = "\n[[rule]]\nwhen = \"port=8000\"\nname = \"shop\"\n";

    let walk = explain(&world.picture(), 8000, Reader::Privileged);

    let policy = &walk.listeners[0].steps[2];
    assert_eq!(
        policy.finding,
        "expose at port 8000, reach lan, name shop.wsl [the rule for \"port=8000\" at config.toml:3:8]"
    );
}

#[test]
fn labels_are_told_in_the_form_of_selectors_and_only_to_who_may_know_them() {
    let mut world = World::with(vec![ours(1, 8000), foreign(2, 8001)]);
    world.listeners[0].labels.insert("wslnetd", "host");
    world.listeners[0].labels.insert("unit", "a,b.service");

    let all = selectors(&world.picture(), 8000, Reader::Privileged);
    let some = selectors(&world.picture(), 8000, Reader::User(Some(7)));

    assert_eq!(all.len(), 1);
    for term in [
        "port=8000",
        "process=node",
        "exe=/usr/bin/node",
        "unit=a[,]b.service",
        "wslnetd=host",
    ] {
        assert!(all[0].terms.iter().any(|found| found == term), "{term}: {all:?}");
    }
    assert!(
        !some[0]
            .terms
            .iter()
            .any(|term| term.starts_with("exe=") || term.starts_with("wslnetd="))
    );
    assert_eq!(selectors(&world.picture(), 8001, Reader::Privileged), []);
}

#[test]
fn explain_speaks_of_silent_ports_too() {
    let walk = explain(&World::with(vec![]).picture(), 8000, Reader::Privileged);

    assert!(
        walk.conclusion.starts_with("Nothing listens on port 8000"),
        "{walk:?}"
    );
}

/// One active listener, one on loopback, one of another distro.
fn shared() -> World {
    let mut world = World::with(vec![
        ours(1, 8000),
        bound(2, Ipv4Addr::LOCALHOST.into(), 8001),
        foreign(3, 8002),
    ]);
    let mut answer = answer(ForwardState::Active, "");
    answer.listen.push(([192, 168, 1, 20], 8000).into());
    world.answers().insert(ForwardId(1), answer);
    world
}

fn answer(state: ForwardState, reason: &str) -> ForwardStatus {
    ForwardStatus {
        id: ForwardId(1),
        state,
        reason: reason.to_owned(),
        listen: Vec::new(),
    }
}
