//! When is looked for whom.

use std::fs;

use super::super::rhythm::*;
use super::*;
use crate::labels::processes::{Census, Scope};

#[test]
fn a_foreign_socket_is_asked_again_with_growing_pauses() {
    let looks = [0, 100, 400, 1_400, 4_400, 14_400, 24_400];

    for (earlier, next) in looks.iter().zip(&looks[1..]) {
        let just_before = asked_at(&looks, *earlier, next - 1);
        let in_time = asked_at(&looks, *earlier, *next);

        assert!(!just_before, "asked before {next} ms");
        assert!(in_time, "not asked at {next} ms");
    }
}

#[test]
fn a_new_socket_looks_for_all() {
    let world = World::new();
    let start = Instant::now();
    let mut attributor = world.attributor();
    attributor.attribute(&[socket(77)], start);
    world.process(600, 1, "late", &[(3, 77)]);

    let before = attributor.attribute(&[socket(77)], start + 50 * MS);
    let with_another = attributor.attribute(&[socket(77), socket(88)], start + 60 * MS);

    assert_eq!(before, [None]);
    assert_eq!(names(with_another[0].as_ref().unwrap()), ["late"]);
    assert_eq!(with_another[1], None);
}

#[test]
fn walks_for_others_do_not_use_up_the_quick_looks() {
    let world = World::new();
    let start = Instant::now();
    let mut attributor = world.attributor();
    let mut sockets = vec![socket(77)];
    attributor.attribute(&sockets, start);
    for (after, inode) in (1..=90).zip(1000..) {
        sockets.push(socket(inode));
        attributor.attribute(&sockets, start + after * MS);
    }
    world.process(600, 1, "late", &[(3, 77)]);

    let owner = attributor.attribute(&sockets, start + 190 * MS).remove(0);

    assert_eq!(names(&owner.unwrap()), ["late"]);
}

#[test]
fn foreign_sockets_of_different_age_share_their_walks_in_the_end() {
    let world = World::new();
    let start = Instant::now();
    let mut attributor = world.attributor();
    let sockets = [socket(77), socket(88)];
    // On its own the older one would be looked for at 0, 0.1, 0.4, 1.4, 4.4, 14.4 s and so on.
    for after in [0, 100, 400, 1_400, 4_400] {
        attributor.attribute(&sockets[..1], start + after * MS);
    }
    // The quick looks for the one that is five seconds younger are looks for both.
    for after in [5_000, 5_100, 5_400, 6_400, 9_400] {
        attributor.attribute(&sockets, start + after * MS);
    }
    world.process(600, 1, "late", &[(3, 77), (4, 88)]);

    let when_the_older_would = attributor.attribute(&sockets, start + 14_400 * MS);
    let together = attributor.attribute(&sockets, start + 19_400 * MS);

    assert_eq!(when_the_older_would, [None, None]);
    assert!(together.iter().all(Option::is_some));
}

#[test]
fn a_late_holder_is_found_within_one_second_at_first_three_later_and_ten_for_ever() {
    for (age, within) in [(0, 1), (3, 1), (30, 3), (59, 3), (120, 10), (100_000, 10)] {
        let world = World::new();
        let start = Instant::now();
        world.process(200, 10, "master", &[(9, 77)]);
        let mut attributor = world.attributor();
        attributor.attribute(&[socket(77)], start);
        attributor.attribute(&[socket(77)], start + 1000 * age * MS);

        world.process(201, 11, "worker", &[(9, 77)]);
        let before = attributor.attribute(&[socket(77)], start + (1000 * (age + within) - 1) * MS);
        let in_time = attributor.attribute(&[socket(77)], start + 1000 * (age + within) * MS);

        assert_eq!(names(before[0].as_ref().unwrap()), ["master"], "{age} s");
        assert_eq!(
            names(in_time[0].as_ref().unwrap()),
            ["master", "worker"],
            "{age} s"
        );
    }
}

#[test]
fn where_one_holder_came_the_next_is_found_soon() {
    let world = World::new();
    world.process(200, 10, "master", &[(9, 77)]);
    let mut attributor = world.attributor();
    let calm = settle(&mut attributor, &socket(77), Instant::now());

    world.process(201, 11, "first", &[(9, 77)]);
    attributor.attribute(&[socket(77)], calm + 10_000 * MS);
    world.process(202, 12, "second", &[(9, 77)]);
    let owner = attributor
        .attribute(&[socket(77)], calm + 11_000 * MS)
        .remove(0)
        .unwrap();

    assert_eq!(names(&owner), ["master", "first", "second"]);
}

#[test]
fn a_socket_that_only_a_manager_holds_is_looked_at_every_three_seconds() {
    let world = World::new();
    world.process(1, 1, "systemd", &[(30, 77)]);
    world.process(900, 900, "systemd", &[(30, 88)]);
    let sockets = [socket(77), socket(88)];
    let mut attributor = world.attributor();
    let start = Instant::now();
    for after in [0, 100, 400, 1_400, 4_400, 100_000] {
        attributor.attribute(&sockets, start + after * MS);
    }

    world.process(500, 1000, "sshd", &[(3, 77)]);
    world.process(501, 1000, "podman", &[(3, 88)]);
    let owners = attributor.attribute(&sockets, start + 103_000 * MS);

    assert_eq!(names(owners[0].as_ref().unwrap()), ["sshd", "systemd"]);
    assert_eq!(names(owners[1].as_ref().unwrap()), ["podman", "systemd"]);
}

#[test]
fn while_no_process_comes_looks_through_all_are_a_minute_apart() {
    let world = World::new();
    world.process(200, 10, "server", &[(3, 77)]);
    let (mut attributor, start) = (world.attributor(), Instant::now());
    let came = |last: u32| {
        fs::write(
            world.folder.path().join("proc/loadavg"),
            format!("0 0 0 1/9 {last}\n"),
        )
        .unwrap()
    };
    came(200);
    let socket = socket(77);
    let calm = settle(&mut attributor, &socket, start);
    let mut holders = |after: u32| {
        let owner = attributor.attribute(std::slice::from_ref(&socket), calm + after * MS);
        owner[0].as_ref().map(|owner| owner.holders.len())
    };

    // Handed the descriptor: no new process, as it was there before.
    world.process(300, 5, "friend", &[(3, 77)]);
    assert_eq!(
        holders(10_000),
        Some(1),
        "a look would be due, and no process has come"
    );
    assert_eq!(holders(59_000), Some(1));
    assert_eq!(holders(60_000), Some(2), "nothing is left out for ever");

    let settled = 60_000 + 61_000 + 60_000;
    assert_eq!(holders(settled), Some(2));
    world.process(400, 99, "child", &[(3, 77)]);
    came(400);
    assert_eq!(holders(settled + 10_000), Some(3));
}

#[test]
fn told_of_processes_it_asks_for_no_look_while_there_are_none() {
    let world = World::new();
    world.process(200, 10, "server", &[(3, 77)]);
    let (mut attributor, start) = (world.attributor(), Instant::now());
    let socket = socket(77);
    let calm = settle(&mut attributor, &socket, start);
    assert_eq!(attributor.next(calm), Some(calm + VERIFY), "nobody tells");

    attributor.is_told_of_processes(true);
    // The first look from then on: what came before it was not told.
    let again = calm + STEADY;
    attributor.attribute(std::slice::from_ref(&socket), again);
    assert_eq!(attributor.next(again), Some(again + VERIFY_QUIET));

    attributor.processes_changed();
    assert_eq!(
        attributor.next(again),
        Some(again + VERIFY),
        "not for each of them"
    );
    assert!(attributor.knows_that_processes_changed());
    attributor.attribute(std::slice::from_ref(&socket), again + VERIFY);
    assert!(!attributor.knows_that_processes_changed());

    attributor.attribute(&[], again + VERIFY * 2);
    assert_eq!(attributor.next(again), None, "there is nothing to look after");
}

#[test]
fn a_child_that_comes_soon_after_a_walk_is_found_with_the_next_and_not_a_minute_later() {
    let world = World::new();
    let came = |last: u32| {
        let loadavg = world.folder.path().join("proc/loadavg");
        fs::write(loadavg, format!("0 0 0 1/9 {last}\n")).unwrap();
    };
    world.process(200, 10, "server", &[(3, 77)]);
    came(200);
    let (mut attributor, start) = (world.attributor(), Instant::now());
    let socket = socket(77);
    attributor.is_told_of_processes(true);
    let calm = settle(&mut attributor, &socket, start);

    world.process(400, 99, "child", &[(3, 77)]);
    came(400);
    attributor.processes_changed();
    let mut now = calm;
    let holders = loop {
        now = attributor.next(now).unwrap();
        let owner = attributor.attribute(std::slice::from_ref(&socket), now).remove(0);
        let holders = owner.unwrap().holders.len();
        if holders > 1 || now > calm + 60_000 * MS {
            break holders;
        }
    };

    assert_eq!((holders, now), (2, calm + STEADY));
}

#[test]
fn a_new_process_is_looked_into_and_the_old_ones_are_not() {
    let world = World::new();
    world.process(200, 10, "server", &[(3, 77)]);
    world.process(300, 5, "friend", &[]);
    let (mut attributor, start) = (world.attributor(), Instant::now());
    let calm = settle(&mut attributor, &socket(77), start);
    let mut holders = |after: u32| {
        let owner = attributor.attribute(&[socket(77)], calm + after * MS).remove(0);
        let mut holders = owner.unwrap().holders.clone();
        holders.sort_by_key(|holder| holder.pid);
        holders.into_iter().map(|holder| holder.pid).collect::<Vec<_>>()
    };

    // Handed the descriptor, both of them; one has just come.
    world.link(300, 4, 77);
    world.process(400, 99, "child", &[(3, 77)]);
    assert_eq!(holders(10_000), [200, 400]);
    assert_eq!(holders(59_000), [200, 400]);
    assert_eq!(holders(60_000), [200, 300, 400]);
}

#[test]
fn a_new_process_that_is_handed_a_descriptor_later_is_looked_into_once_more() {
    let world = World::new();
    world.process(200, 10, "server", &[(3, 77)]);
    let (mut attributor, start) = (world.attributor(), Instant::now());
    let calm = settle(&mut attributor, &socket(77), start);

    world.process(400, 99, "heir", &[]);
    attributor.attribute(&[socket(77)], calm + 10_000 * MS);
    world.link(400, 4, 77);
    let owner = attributor.attribute(&[socket(77)], calm + 20_000 * MS).remove(0);

    assert_eq!(names(&owner.unwrap()), ["server", "heir"]);
}

#[test]
fn the_second_look_at_a_process_that_was_new_does_not_cost_what_its_descriptors_do() {
    let world = World::new();
    let wanted = BTreeSet::from([77]);
    let processes = Processes::open(&world.folder.path().join("proc"), Path::new("/")).unwrap();
    let mut census = Census::default();
    let mut cost = |now| {
        let scope = Scope::New(BTreeSet::new());
        processes
            .holders_of(&wanted, &scope, &mut census, now)
            .unwrap()
            .cost
    };
    let start = Instant::now();
    world.process(200, 10, "server", &[]);
    cost(start);
    let many: Vec<(i32, u64)> = (0..2000).map(|fd| (fd, 100_000)).collect();
    world.process(400, 99, "crowd", &many);

    let (first, second) = (cost(start), cost(start + 10_000 * MS));

    assert!(first > 6 * MS, "{first:?}");
    assert!(second > Duration::ZERO && second < MS, "{second:?}");
    assert_eq!(cost(start + 20_000 * MS), Duration::ZERO);
}

/// Whether a socket that was foreign at all looks up to `last` (ms) is looked for again at `then`.
fn asked_at(looks: &[u32], last: u32, then: u32) -> bool {
    let world = World::new();
    let start = Instant::now();
    let mut attributor = world.attributor();
    for look in looks.iter().filter(|look| **look <= last) {
        assert_eq!(attributor.attribute(&[socket(77)], start + *look * MS), [None]);
    }
    world.process(600, 1, "late", &[(3, 77)]);
    attributor.attribute(&[socket(77)], start + then * MS)[0].is_some()
}
