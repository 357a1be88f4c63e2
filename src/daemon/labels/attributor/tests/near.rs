//! New sockets of which the kernel says who made them listen.

use super::*;

#[test]
fn the_process_that_listens_and_who_is_near_to_it_are_found_at_once() {
    let world = World::new();
    world.process(50, 5, "login", &[(3, 77)]);
    world.process(100, 10, "parent", &[(3, 77)]);
    world.process(200, 20, "maker", &[(3, 77), (4, 5)]);
    world.process(300, 30, "mate", &[(7, 77)]);
    world.process(400, 40, "stranger", &[(3, 77)]);
    world.child(200, 100);
    world.child(100, 50);
    world.group("a.service", &[200, 300]);
    world.group("b.service", &[50, 100, 400]);

    let (attributor, _) = told(&world, &[200], &[socket(77)]);

    assert_eq!(found(&attributor, 77), ["login", "maker", "mate", "parent"]);
}

#[test]
fn off_is_heard_of_an_ancestor_and_of_a_mate_from_the_first_moment() {
    for (who, parent, mates) in [(100, 100, vec![200]), (300, 0, vec![200, 300])] {
        let world = World::new();
        world.process(200, 20, "maker", &[(3, 77)]);
        world.process(who, 10, "private", &[(3, 77)]);
        world.file(who, "environ", "WSLNETD=off\0");
        world.child(200, parent);
        world.group("a.service", &mates);
        let mut attributor = calm(&world);
        attributor.patience.other = Duration::ZERO;
        let now = Instant::now();

        attributor.listening(&[200], now);
        let owner = attributor.attribute(&[socket(77)], now).remove(0).unwrap();

        let says = owner.holders.iter().find_map(|holder| holder.says.as_deref());
        assert_eq!(says, Some("off"), "{who}");
    }
}

#[test]
fn all_others_are_found_by_a_look_that_follows() {
    let world = World::new();
    world.process(200, 20, "maker", &[(3, 77)]);
    world.process(400, 40, "stranger", &[(3, 77)]);
    world.group("a.service", &[200]);
    let (mut attributor, now) = told(&world, &[200], &[socket(77)]);
    assert_eq!(found(&attributor, 77), ["maker"]);

    let owner = attributor.attribute(&[socket(77)], now + 1000 * MS).remove(0);

    assert_eq!(names(&owner.unwrap()), ["maker", "stranger"]);
}

#[test]
fn a_process_that_does_not_hold_the_socket_proves_nothing() {
    let world = World::new();
    world.process(200, 20, "elsewhere", &[(3, 5)]);
    world.process(300, 30, "mate", &[(3, 77)]);
    world.process(400, 40, "stranger", &[(3, 77)]);
    world.group("a.service", &[200, 300]);

    for maker in [200, 999] {
        let (mut attributor, now) = told(&world, &[maker], &[socket(77)]);
        assert!(!attributor.is_decided(&socket(77)), "{maker}");
        let owner = attributor.attribute(&[socket(77)], now).remove(0).unwrap();
        assert_eq!(names(&owner), ["mate", "stranger"], "{maker}");
    }
}

#[test]
fn without_a_group_of_its_own_all_are_looked_into_first() {
    let crowd: Vec<i32> = (200..265).collect();
    for (group, mates) in [("", &[200][..]), ("crowd.scope", &crowd), ("other.scope", &[300])] {
        let world = World::new();
        world.process(200, 20, "maker", &[(3, 77)]);
        world.process(300, 30, "private", &[(3, 77)]);
        world.group(group, mates);
        world.file(200, "cgroup", format!("0::/{group}\n"));

        let (attributor, _) = told(&world, &[200], &[socket(77)]);

        assert!(!attributor.is_decided(&socket(77)), "{group:?}");
    }
}

#[test]
fn what_a_look_into_some_finds_of_a_new_socket_does_not_count() {
    let world = World::new();
    world.process(200, 20, "maker", &[(3, 77)]);
    world.group("a.service", &[200]);
    let (mut attributor, now) = told(&world, &[], &[socket(77)]);
    let walk = attributor.processes.holders_near(&[200], &BTreeSet::from([77]));
    assert_eq!(walk.holders_of(77).len(), 1);

    let known = attributor.known.get_mut(&Key::of(&socket(77))).unwrap();
    known.found_more(walk.holders_of(77), now);

    assert!(known.holders.is_empty());
    assert!(!known.is_decided);
}

#[test]
fn what_it_costs_does_not_grow_with_the_descriptors_of_others() {
    let many: Vec<(i32, u64)> = (0..5000).map(|fd| (fd, 100_000)).collect();
    let cost = |of_stranger: &[(i32, u64)], of_mate: &[(i32, u64)]| {
        let world = World::new();
        world.process(200, 20, "maker", &[(3, 77)]);
        world.process(300, 30, "mate", of_mate);
        world.process(400, 40, "stranger", of_stranger);
        world.group("a.service", &[200, 300]);
        let attributor = world.attributor();
        let walk = attributor.processes.holders_near(&[200], &BTreeSet::from([77]));
        (walk.cost, walk.holders.len())
    };

    let (few, found) = cost(&[(3, 5)], &[(3, 5)]);
    assert_eq!(found, 1);
    assert_eq!(cost(&many, &[(3, 5)]), (few, 1));
    // One whose company has that many is looked for everywhere by the other thread.
    let (bounded, found) = cost(&[(3, 5)], &many);
    assert_eq!(found, 0);
    assert!(bounded < 15 * MS, "{bounded:?}");
}

#[test]
fn what_it_costs_does_not_grow_with_threads_that_hold_nothing() {
    let world = World::new();
    world.process(200, 20, "maker", &[(3, 77)]);
    world.process(300, 30, "mate", &[]);
    for thread in 301..1301 {
        world.thread(300, thread, &[]);
    }
    world.group("a.service", &[200, 300]);
    let attributor = world.attributor();

    for makers in [&[200][..], &[300, 200]] {
        let walk = attributor.processes.holders_near(makers, &BTreeSet::from([77]));

        assert!(walk.holders.is_empty());
        assert!(walk.cost < 15 * MS, "{:?}", walk.cost);
    }
}

#[test]
fn a_look_that_takes_long_holds_up_nobody_else() {
    let world = World::new();
    world.process(200, 20, "maker", &[(3, 77)]);
    world.process(500, 50, "slow", &[(3, 88)]);
    world.group("a.service", &[200]);
    let mut attributor = calm(&world);
    attributor.patience = Patience {
        nobody: MS,
        other: Duration::ZERO,
        ..attributor.patience
    };
    let hanging = world.hang(500);
    let now = Instant::now();
    attributor.attribute(&[socket(88)], now);
    assert!(attributor.walker.is_busy());

    attributor.listening(&[200], now);
    let sockets = [socket(77), socket(88), socket(99)];
    let owners = attributor.attribute(&sockets, now);

    assert_eq!(names(owners[0].as_ref().unwrap()), ["maker"]);
    let are_decided = sockets.each_ref().map(|socket| attributor.is_decided(socket));
    assert_eq!(are_decided, [true, false, false]);
    assert!(!attributor.has_found());
    hanging.answer();
    attributor = patient(attributor);
    let owners = attributor.attribute(&sockets, now);
    assert_eq!(names(owners[1].as_ref().unwrap()), ["slow"]);
    assert!(sockets.iter().all(|socket| attributor.is_decided(socket)));
}

#[test]
fn a_process_that_listens_again_and_again_displaces_nobody() {
    let world = World::new();
    let mut attributor = calm(&world);
    let now = Instant::now();

    attributor.listening(&[200], now);
    for _ in 0..1000 {
        attributor.listening(&[300], now);
    }

    let makers: Vec<i32> = attributor.makers.iter().map(|(pid, _)| *pid).collect();
    assert_eq!(makers, [200, 300]);
}

#[test]
fn what_is_said_of_a_process_is_forgotten_soon_and_kept_for_few() {
    let world = World::new();
    let mut attributor = calm(&world);
    let now = Instant::now();
    let crowd: Vec<i32> = (1..=1000).rev().collect();

    attributor.listening(&crowd, now);
    let latest: Vec<i32> = attributor.makers.iter().map(|(pid, _)| *pid).collect();
    attributor.attribute(&[socket(5)], now + MAKERS_FOR + MS);

    assert_eq!(latest, (937..=1000).collect::<Vec<_>>());
    assert!(attributor.makers.is_empty());
}

/// An attributor that has looked into all before.
fn calm(world: &World) -> Attributor {
    let mut attributor = world.attributor();
    attributor.attribute(&[socket(5)], Instant::now());
    attributor
}

/// What it knows by what it is told alone, before it looks any further; and the moment.
fn told(world: &World, makers: &[i32], sockets: &[Socket]) -> (Attributor, Instant) {
    let mut attributor = calm(world);
    let now = Instant::now();
    attributor.listening(makers, now);
    attributor.follow(sockets, now);
    attributor.look_near(now);
    (attributor, now)
}

fn found(attributor: &Attributor, inode: u64) -> Vec<&str> {
    let holders = &attributor.known[&Key::of(&socket(inode))].holders;
    let mut names: Vec<&str> = holders
        .iter()
        .map(|holder| holder.process().name.as_str())
        .collect();
    names.sort_unstable();
    names
}
