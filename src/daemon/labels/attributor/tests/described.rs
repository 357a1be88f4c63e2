//! What a holder is called and where it belongs.

use std::fs;

use super::*;

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
