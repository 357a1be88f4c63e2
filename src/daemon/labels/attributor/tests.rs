//! The attributor on a made-up /proc, where time and processes do what a test says, and on the real one.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use wslnet_protocol::Protocol;

use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn all_holders_are_found_oldest_first() {
    let world = World::new();
    world.process(300, 20, "worker", &[(3, 77)]);
    world.process(200, 10, "master", &[(9, 77), (10, 5)]);
    world.process(400, 5, "stranger", &[(3, 78)]);
    let mut attributor = world.attributor();

    let owner = attributor
        .attribute(&[socket(77)], Instant::now())
        .remove(0)
        .unwrap();

    assert_eq!(names(&owner), ["master", "worker"]);
    assert_eq!(
        owner.holders[0],
        Process {
            pid: 200,
            start_time: 10,
            name: "master".into(),
            exe: Some("/usr/bin/master".into()),
            uid: world.owner().0,
            gid: world.owner().1,
            ..Process::default()
        }
    );
    assert_eq!((owner.uid, owner.user.as_deref()), (1000, Some("ann")));
}

#[test]
fn init_comes_last_and_a_service_it_starts_later_is_found() {
    let world = World::new();
    let start = Instant::now();
    world.process(1, 1, "systemd", &[(30, 77)]);
    let mut attributor = world.attributor();

    let activated = attributor.attribute(&[socket(77)], start).remove(0).unwrap();
    world.process(500, 900, "sshd", &[(3, 77)]);
    let running = attributor
        .attribute(&[socket(77)], start + 100 * MS)
        .remove(0)
        .unwrap();

    assert_eq!(names(&activated), ["systemd"]);
    assert_eq!(names(&running), ["sshd", "systemd"]);
}

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
    for (age, within) in [(0, 1), (4, 1), (30, 3), (59, 3), (120, 10), (100_000, 10)] {
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
        if holders > 1 || now > calm + RECONCILE {
            break holders;
        }
    };

    assert_eq!((holders, now), (2, calm + STEADY));
}

#[test]
fn a_lost_holder_is_looked_for_at_once() {
    let world = World::new();
    world.process(200, 10, "master", &[(9, 77)]);
    world.process(201, 11, "worker", &[(9, 77)]);
    let mut attributor = world.attributor();
    let calm = settle(&mut attributor, &socket(77), Instant::now());
    // However fresh the last look is.
    attributor.attribute(&[socket(77), socket(88)], calm + 900 * MS);

    world.end(201);
    world.process(201, 11, "worker", &[(100, 77)]);
    let owner = attributor
        .attribute(&[socket(77)], calm + VERIFY)
        .remove(0)
        .unwrap();

    assert_eq!(names(&owner), ["master", "worker"]);
}

#[test]
fn the_child_inherits_when_the_parent_dies() {
    let world = World::new();
    world.process(200, 10, "parent", &[(9, 77)]);
    let mut attributor = world.attributor();
    let calm = settle(&mut attributor, &socket(77), Instant::now());

    world.process(201, 11, "child", &[(9, 77)]);
    world.end(200);
    let owner = attributor
        .attribute(&[socket(77)], calm + VERIFY)
        .remove(0)
        .unwrap();

    assert_eq!(names(&owner), ["child"]);
}

#[test]
fn a_socket_nobody_here_holds_any_more_becomes_foreign() {
    let world = World::new();
    world.process(200, 10, "parent", &[(9, 77)]);
    let mut attributor = world.attributor();
    let calm = settle(&mut attributor, &socket(77), Instant::now());

    world.end(200);
    let within_a_second = attributor.attribute(&[socket(77)], calm + 500 * MS).remove(0);
    let after = attributor.attribute(&[socket(77)], calm + VERIFY).remove(0);

    assert!(within_a_second.is_some());
    assert_eq!(after, None);
}

#[test]
fn a_reused_pid_never_keeps_the_old_owner() {
    let world = World::new();
    world.process(200, 10, "old", &[(9, 77)]);
    let mut attributor = world.attributor();
    let calm = settle(&mut attributor, &socket(77), Instant::now());

    world.end(200);
    world.process(200, 5000, "new", &[(9, 77)]);
    let owner = attributor
        .attribute(&[socket(77)], calm + VERIFY)
        .remove(0)
        .unwrap();

    assert_eq!(names(&owner), ["new"]);
    assert_eq!(owner.holders[0].start_time, 5000);
}

#[test]
fn a_reused_descriptor_never_keeps_the_old_owner() {
    let world = World::new();
    world.process(300, 10, "closer", &[(9, 88)]);
    let mut attributor = world.attributor();
    let calm = settle(&mut attributor, &socket(88), Instant::now());

    world.end(300);
    world.process(300, 10, "closer", &[(9, 99)]);
    let owner = attributor.attribute(&[socket(88)], calm + VERIFY).remove(0);

    assert_eq!(owner, None);
}

#[test]
fn sockets_that_are_gone_are_forgotten() {
    let world = World::new();
    let start = Instant::now();
    let mut attributor = world.attributor();

    attributor.attribute(&[socket(77), socket(88)], start);
    attributor.attribute(&[socket(88)], start + MS);

    assert_eq!(
        attributor.known.keys().map(|key| key.inode).collect::<Vec<_>>(),
        [88]
    );
}

#[test]
fn a_reused_id_is_a_new_socket() {
    let world = World::new();
    let start = Instant::now();
    world.process(200, 10, "old", &[(9, 77)]);
    let mut attributor = world.attributor();
    attributor.attribute(&[socket(77)], start);
    let same_cookie = Socket {
        inode: 78,
        ..socket(77)
    };

    let owner = attributor.attribute(&[same_cookie], start + MS).remove(0);

    assert_eq!(owner, None);
}

#[test]
fn a_process_that_starts_another_program_goes_by_the_new_name() {
    let world = World::new();
    world.process(200, 10, "sh", &[(9, 77)]);
    let mut attributor = world.attributor();
    let calm = settle(&mut attributor, &socket(77), Instant::now());

    world.end(200);
    world.process(200, 10, "node", &[(9, 77)]);
    let owner = attributor
        .attribute(&[socket(77)], calm + VERIFY)
        .remove(0)
        .unwrap();

    assert_eq!(names(&owner), ["node"]);
    assert_eq!(owner.holders[0].exe.as_deref(), Some("/usr/bin/node"));
}

#[test]
fn hostile_names_and_deleted_programs_come_out_clean() {
    let world = World::new();
    world.process(200, 10, "x\x1b[2J\ny", &[(9, 77)]);
    world.program(200, "/tmp/a\u{202e}b (deleted)");
    let mut attributor = world.attributor();

    let owner = attributor
        .attribute(&[socket(77)], Instant::now())
        .remove(0)
        .unwrap();

    assert_eq!(owner.holders[0].name, "x\u{fffd}[2J\u{fffd}y");
    assert_eq!(owner.holders[0].exe.as_deref(), Some("/tmp/a\u{fffd}b"));
}

#[test]
fn a_long_path_is_kept_whole() {
    let world = World::new();
    let path = format!("/opt/{}x", "deep/".repeat(800));
    world.process(200, 10, "deep", &[(9, 77)]);
    world.program(200, &path);
    let mut attributor = world.attributor();

    let owner = attributor
        .attribute(&[socket(77)], Instant::now())
        .remove(0)
        .unwrap();

    assert_eq!(owner.holders[0].exe.as_deref(), Some(path.as_str()));
}

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
    let due = attributor.attribute(&sockets, start + 15_000 * MS).remove(0);

    assert_eq!(too_soon, None);
    assert!(due.is_some());
}

#[test]
fn units_slices_container_and_group_are_read_and_followed() {
    let world = World::new();
    let id = "0123456789abcdef".repeat(4);
    world.process(200, 10, "master", &[(9, 77)]);
    let (_, gid) = world.owner();
    fs::write(
        world.folder.path().join("group"),
        format!("www\x1b:x:{gid}:ann\n"),
    )
    .unwrap();
    world.file(200, "cgroup", "0::/user.slice/user@1000.service/demo.service\n");
    let mut attributor = world.attributor();
    let start = Instant::now();

    let before = attributor.attribute(&[socket(77)], start).remove(0).unwrap();
    world.file(200, "cgroup", format!("0::/system.slice/docker-{id}.scope\n"));
    let after = attributor
        .attribute(&[socket(77)], start + VERIFY)
        .remove(0)
        .unwrap();

    assert_eq!(before.holders[0].units, ["demo.service", "user@1000.service"]);
    assert_eq!(before.holders[0].slices, ["user.slice"]);
    assert_eq!(before.holders[0].group.as_deref(), Some("www\u{fffd}"));
    assert_eq!(before.holders[0].container, None);
    assert_eq!(after.holders[0].units, [format!("docker-{id}.scope")]);
    assert_eq!(after.holders[0].container, Some(id));
}

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

#[test]
fn the_real_proc_finds_this_process_and_a_child_that_inherits() {
    let mut scanner = crate::listeners::Scanner::open(
        crate::listeners::SourceChoice::Auto,
        crate::listeners::UdpInterest::default(),
    )
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut attributor = patient(Attributor::new().unwrap());
    let mut owner = |after: Duration| {
        let mut sockets = scanner.scan().unwrap();
        sockets.retain(|socket| socket.address.port() == port);
        attributor
            .attribute(&sockets, Instant::now() + after)
            .pop()
            .flatten()
    };

    let ours = owner(Duration::ZERO).unwrap();
    let child = Inheritor::spawn(listener.into());
    let inherited = owner(Duration::from_secs(2)).unwrap();
    let pid = i32::try_from(child.0.id()).unwrap();
    drop(child);
    let gone = owner(Duration::from_secs(4));

    assert_eq!(ours.holders[0].pid, i32::try_from(std::process::id()).unwrap());
    assert!(ours.holders[0].exe.as_deref().unwrap().starts_with('/'));
    assert_eq!(
        inherited
            .holders
            .iter()
            .map(|holder| holder.pid)
            .collect::<Vec<_>>(),
        [pid]
    );
    assert_eq!(inherited.holders[0].name, "sleep");
    assert_eq!(gone, None);
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

/// Brings an owned socket to the age at which looks are rare; when the last one was.
fn settle(attributor: &mut Attributor, socket: &Socket, start: Instant) -> Instant {
    let calm = start + 120_000 * MS;
    for now in [start, calm] {
        assert!(attributor.attribute(std::slice::from_ref(socket), now)[0].is_some());
    }
    calm
}

/// With made-up time, an answer that a busy machine delays must not look like one that never comes.
fn patient(mut attributor: Attributor) -> Attributor {
    attributor.declarations.patience = Duration::from_secs(20);
    attributor
}

fn names(owner: &Owner) -> Vec<&str> {
    owner.holders.iter().map(|holder| holder.name.as_str()).collect()
}

fn socket(inode: u64) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        address: "0.0.0.0:8000".parse().unwrap(),
        v6only: None,
        uid: 1000,
        inode,
        cookie: Some(if inode == 78 { 77 } else { inode }),
        interface: None,
    }
}

/// A child that has a listener as its standard input, and dies with the test.
struct Inheritor(Child);

impl Inheritor {
    fn spawn(listener: OwnedFd) -> Self {
        Self(
            Command::new("sleep")
                .arg("600")
                .stdin(Stdio::from(listener))
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Inheritor {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A /proc and a passwd file made of plain files.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("proc")).unwrap();
        fs::write(folder.path().join("passwd"), "ann:x:1000:1000:::\n").unwrap();
        Self { folder }
    }

    fn attributor(&self) -> Attributor {
        patient(Attributor::with_paths(&self.folder.path().join("proc"), self.folder.path()).unwrap())
    }

    /// The user and group to whom all of the made-up processes belong.
    fn owner(&self) -> (u32, u32) {
        let meta = fs::metadata(self.folder.path()).unwrap();
        (meta.uid(), meta.gid())
    }

    fn file(&self, pid: i32, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(format!("proc/{pid}/{name}")), content).unwrap();
    }

    fn process(&self, pid: i32, start_time: u64, name: &str, sockets: &[(i32, u64)]) {
        let folder = self.folder.path().join(format!("proc/{pid}"));
        fs::create_dir_all(folder.join("fd")).unwrap();
        let zeros = "0 ".repeat(18);
        fs::write(
            folder.join("stat"),
            format!("{pid} ({name}) S {zeros}{start_time} 0\n"),
        )
        .unwrap();
        fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
        self.program(pid, &format!("/usr/bin/{name}"));
        for (fd, inode) in sockets {
            symlink(format!("socket:[{inode}]"), folder.join(format!("fd/{fd}"))).unwrap();
        }
    }

    fn thread(&self, pid: i32, thread: i32, sockets: &[(i32, u64)]) {
        let fds = self.folder.path().join(format!("proc/{pid}/task/{thread}/fd"));
        fs::create_dir_all(&fds).unwrap();
        for (fd, inode) in sockets {
            symlink(format!("socket:[{inode}]"), fds.join(fd.to_string())).unwrap();
        }
    }

    fn program(&self, pid: i32, path: &str) {
        let exe = self.folder.path().join(format!("proc/{pid}/exe"));
        let _ = fs::remove_file(&exe);
        symlink(path, exe).unwrap();
    }

    fn end(&self, pid: i32) {
        fs::remove_dir_all(self.folder.path().join(format!("proc/{pid}"))).unwrap();
    }
}

mod declared;
mod grouped;
mod real;
