//! What holders say of themselves, as far as plain files can play it.

use std::fs;

use super::*;

#[test]
fn a_control_group_that_cannot_be_told_counts_as_an_unread_word() {
    let world = World::new();
    world.process(200, 10, "master", &[(9, 77)]);
    world.process(300, 10, "endless", &[(9, 88)]);
    fs::create_dir(world.folder.path().join("proc/200/cgroup")).unwrap();
    world.file(300, "cgroup", vec![b'x'; 1 << 20]);
    let mut attributor = world.attributor();

    let owners = attributor.attribute(&[socket(77), socket(88)], Instant::now());

    for (owner, name) in owners.into_iter().zip(["200 (master)", "300 (endless)"]) {
        let Some(Declared::Unreadable { reason }) = owner.map(|owner| owner.declared.clone()) else {
            panic!("{name} is known");
        };
        let start = format!("the control group of process {name} cannot be read: ");
        assert!(reason.starts_with(&start), "{reason}");
    }
}

#[test]
fn a_manager_speaks_only_while_nobody_else_holds_the_socket() {
    let world = World::new();
    world.process(1, 1, "systemd", &[(30, 77)]);
    world.file(1, "environ", "WSLNETD=off\0");
    let mut attributor = world.attributor();
    let start = Instant::now();

    let alone = attributor.attribute(&[socket(77)], start).remove(0).unwrap();
    world.process(500, 900, "sshd", &[(3, 77)]);
    world.file(500, "environ", "WSLNETD=lan\0");
    let together = attributor
        .attribute(&[socket(77)], start + 100 * MS)
        .remove(0)
        .unwrap();

    let says = |owner: &Owner| {
        owner
            .holders
            .iter()
            .map(|holder| holder.says.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(says(&alone), [Some("off".to_owned())]);
    assert_eq!(says(&together), [Some("lan".to_owned()), None]);
}

#[test]
fn a_word_that_cannot_be_read_is_asked_for_again_and_stays_unread_meanwhile() {
    let world = World::new();
    world.process(200, 10, "master", &[(9, 77)]);
    let environ = world.folder.path().join("proc/200/environ");
    fs::create_dir(&environ).unwrap();
    let mut attributor = world.attributor();
    let start = Instant::now();
    let mut declared = |after| {
        let owner = attributor.attribute(&[socket(77)], start + after * MS).remove(0);
        owner.unwrap().declared.clone()
    };

    let first = declared(0);
    fs::remove_dir(&environ).unwrap();
    fs::write(&environ, "WSLNETD=lan\0").unwrap();
    let too_soon = declared(9_000);
    let again = declared(10_000);

    assert!(matches!(first, Declared::Unreadable { .. }), "{first:?}");
    assert_eq!(too_soon, first);
    assert_eq!(again, Declared::Known);
}

#[test]
fn what_is_forked_says_what_its_parent_says_until_it_is_another_program() {
    let world = World::new();
    let stat = |pid: i32, parent: i32, places: &str| {
        let stat = format!("{pid} (a) S {parent} {}{pid} 0 0 0 {places}", "0 ".repeat(17));
        world.file(pid, "stat", stat);
    };
    world.process(200, 200, "master", &[(9, 77)]);
    stat(200, 1, "7 8 9");
    world.file(200, "environ", "WSLNETD=off\0");
    let mut attributor = world.attributor();
    let start = Instant::now();
    attributor.attribute(&[socket(77)], start);
    for (pid, parent, places) in [(201, 200, "7 8 9"), (202, 200, "7 8 0"), (203, 1, "7 8 9")] {
        world.process(pid, 0, "master", &[(9, 77)]);
        world.file(pid, "environ", "WSLNETD=lan\0");
        stat(pid, parent, places);
    }

    let owner = attributor
        .attribute(&[socket(77)], start + VERIFY)
        .remove(0)
        .unwrap();

    let says = |owner: Arc<Owner>| {
        owner
            .holders
            .iter()
            .filter_map(|holder| holder.says.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(says(owner), ["off", "off", "lan", "lan"]);
    assert_eq!(attributor.declarations.asked, 3);
    stat(201, 200, "1 2 3");
    let owner = attributor
        .attribute(&[socket(77)], start + 2 * VERIFY)
        .remove(0)
        .unwrap();
    assert_eq!(says(owner), ["off", "lan", "lan", "lan"]);
}

#[test]
fn a_program_whose_first_thread_has_ended_is_heard_through_another() {
    let world = World::new();
    world.process(200, 10, "threads", &[]);
    world.thread(200, 205, &[(4, 77)]);
    world.file(200, "environ", "");
    world.file(200, "task/205/environ", "WSLNETD=off\0");
    let mut attributor = world.attributor();

    let owner = attributor
        .attribute(&[socket(77)], Instant::now())
        .remove(0)
        .unwrap();

    assert_eq!(owner.holders[0].says.as_deref(), Some("off"));
}
