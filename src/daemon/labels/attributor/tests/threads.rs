//! Threads that have descriptors of their own.

use super::*;

#[test]
fn threads_are_asked_when_the_first_one_has_ended() {
    let world = World::new();
    world.process(200, 10, "threads", &[]);
    world.thread(200, 205, &[(4, 77)]);
    let mut attributor = world.attributor();

    let first = attributor
        .attribute(&[socket(77)], Instant::now())
        .remove(0)
        .unwrap();
    let verified = attributor
        .attribute(&[socket(77)], Instant::now() + 9000 * MS)
        .remove(0)
        .unwrap();

    assert_eq!(names(&first), ["threads"]);
    assert_eq!(first, verified);
}

#[test]
fn a_thread_with_descriptors_of_its_own_is_found_by_a_slow_look_and_kept() {
    let world = World::new();
    let start = Instant::now();
    world.process(200, 10, "threads", &[(3, 5)]);
    world.thread(200, 205, &[(3, 5), (4, 77)]);
    let mut attributor = world.attributor();
    for after in [0, 100, 400] {
        assert_eq!(attributor.attribute(&[socket(77)], start + after * MS), [None]);
    }

    let found = attributor.attribute(&[socket(77)], start + 4_400 * MS).remove(0);
    let kept = attributor
        .attribute(&[socket(77)], start + 100_000 * MS)
        .remove(0);
    world.process(300, 20, "child", &[(4, 77)]);
    let with_a_child = attributor
        .attribute(&[socket(77)], start + 200_000 * MS)
        .remove(0);
    world.end(200);
    let ended = attributor
        .attribute(&[socket(77)], start + 300_000 * MS)
        .remove(0);

    assert_eq!(names(&found.unwrap()), ["threads"]);
    assert_eq!(names(&kept.unwrap()), ["threads"]);
    assert_eq!(names(&with_a_child.unwrap()), ["threads", "child"]);
    assert_eq!(names(&ended.unwrap()), ["child"]);
}

#[test]
fn threads_are_not_looked_into_more_often_than_every_ten_seconds() {
    let world = World::new();
    let start = Instant::now();
    world.process(200, 10, "threads", &[(3, 5)]);
    let mut attributor = world.attributor();
    let mut sockets = vec![socket(77)];
    attributor.attribute(&sockets, start);
    attributor.attribute(&sockets, start + 5_000 * MS);

    world.thread(200, 205, &[(4, 77)]);
    sockets.push(socket(88));
    let too_soon = attributor.attribute(&sockets, start + 14_900 * MS).remove(0);
    // They are looked into together with all processes.
    sockets.push(socket(99));
    let due = attributor.attribute(&sockets, start + 15_000 * MS).remove(0);

    assert_eq!(too_soon, None);
    assert!(due.is_some());
}

#[test]
fn a_look_into_threads_ends_however_many_descriptors_there_are_and_has_then_found_nobody() {
    const THREADS: i32 = 200;
    let world = World::new();
    world.process(100, 10, "maker", &[]);
    world.thread(100, 101, &[(4, 77)]);
    world.process(200, 10, "threads", &[]);
    for thread in 0..THREADS {
        world.thread(200, 201 + thread, &[(3, 5), (4, 5), (5, 5)]);
    }
    let attributor = world.attributor();
    let look = |limit| {
        let walk = attributor
            .processes
            .threads_that_hold(&BTreeSet::from([77]), limit);
        let walk = walk.unwrap();
        (walk.cost, walk.holders.len())
    };

    let (whole, found) = look(u64::MAX);
    assert_eq!(found, 1);
    let (cut, found) = look(100);
    assert_eq!(found, 0);
    assert!(cut < whole / 10, "{cut:?} of {whole:?}");
}
