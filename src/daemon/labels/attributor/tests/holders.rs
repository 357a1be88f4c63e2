//! Who holds a socket, and who does no more.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use super::super::rhythm::LOST;
use super::*;
use crate::labels::Process;

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
fn one_that_moves_the_descriptor_stays_a_holder_among_others() {
    let world = World::new();
    world.process(200, 10, "master", &[(9, 77)]);
    world.process(201, 11, "worker", &[(9, 77)]);
    let mut attributor = world.attributor();
    let calm = settle(&mut attributor, &socket(77), Instant::now());

    fs::remove_file(world.folder.path().join("proc/201/fd/9")).unwrap();
    world.link(201, 100, 77);
    let owner = attributor.attribute(&[socket(77)], calm + VERIFY).remove(0);

    assert_eq!(names(&owner.unwrap()), ["master", "worker"]);
}

#[test]
fn who_has_let_go_is_the_owner_until_it_is_known_who_holds_it_now() {
    let world = World::new();
    world.process(200, 10, "parent", &[(9, 77)]);
    world.process(500, 5, "slow", &[]);
    let mut attributor = world.attributor();
    let calm = settle(&mut attributor, &socket(77), Instant::now());
    attributor.patience.nobody = MS;
    attributor.patience.other = Duration::ZERO;

    world.end(200);
    world.link(500, 9, 77);
    let hanging = world.hang(500);
    let meanwhile = attributor.attribute(&[socket(77)], calm + VERIFY).remove(0);
    hanging.answer();
    attributor = patient(attributor);
    let after = attributor.attribute(&[socket(77)], calm + VERIFY).remove(0);

    assert_eq!(names(&meanwhile.unwrap()), ["parent"]);
    assert_eq!(names(&after.unwrap()), ["slow"]);
}

#[test]
fn who_has_let_go_is_not_the_owner_for_ever_while_the_look_for_others_hangs() {
    let world = World::new();
    world.process(200, 10, "parent", &[(9, 77)]);
    world.process(500, 5, "slow", &[]);
    let mut attributor = world.attributor();
    let calm = settle(&mut attributor, &socket(77), Instant::now());
    attributor.is_told_of_processes(true);
    attributor.processes_changed();
    attributor.patience.nobody = MS;
    attributor.patience.other = Duration::ZERO;

    world.end(200);
    world.link(500, 9, 77);
    let hanging = world.hang(500);
    let mut now = calm + VERIFY;
    let lost = now;
    loop {
        attributor.attribute(&[socket(77)], now);
        if !attributor.is_decided(&socket(77)) {
            break;
        }
        assert!(now < lost + LOST, "it is asked for in time");
        now = attributor.next(now).unwrap();
    }
    hanging.answer();
    attributor = patient(attributor);
    let after = attributor.attribute(&[socket(77)], now).remove(0);

    assert_eq!(now, lost + LOST);
    assert!(attributor.is_decided(&socket(77)));
    assert_eq!(names(&after.unwrap()), ["slow"]);
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
