#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

//! Real files with wrong owners, modes, links and kinds. Owners are changed by root only; there those tests end early
//! for others, and `the_owner_rule` covers the decision itself.

mod fuse;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;

use nix::sys::statfs::FsType;

use super::checks::refuse_file_system;
use super::*;
use crate::store::{KEY_FILE, load_or_create};
use crate::{PEERS_FILE, Peers, trust};

/// A user and a group that are not root's.
const STRANGER: u32 = 64_321;

#[test]
fn what_is_made_is_private() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("state");

    load_or_create(&dir).unwrap();
    trust(&dir, "companion", load_or_create(&dir).unwrap().public()).unwrap();

    assert_eq!(mode(&dir), 0o700);
    for name in [KEY_FILE, PEERS_FILE, LOCK_FILE] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_key_that_others_may_touch_is_refused() {
    for bits in [0o640, 0o604, 0o620, 0o601, 0o610, 0o666] {
        let place = ready();
        set_mode(&place.path().join(KEY_FILE), bits);

        let message = load_or_create(place.path()).unwrap_err().to_string();

        assert!(message.contains(&format!("mode {bits:04o}")), "{message}");
        assert!(message.contains("chmod 0600"), "{message}");
    }
    let place = ready();
    set_mode(&place.path().join(KEY_FILE), 0o400);
    load_or_create(place.path()).unwrap();
}

#[test]
fn a_list_may_be_read_by_others_and_not_written() {
    let place = ready();
    for (bits, good) in [(0o644, true), (0o664, false), (0o606, false)] {
        set_mode(&place.path().join(PEERS_FILE), bits);
        assert_eq!(Peers::load(place.path()).is_ok(), good, "{bits:o}");
    }
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    for (bits, good) in [(0o755, true), (0o770, false), (0o702, false), (0o1777, false)] {
        let place = ready();
        set_mode(place.path(), bits);
        let result = load_or_create(place.path());
        assert_eq!(result.is_ok(), good, "{bits:o}: {result:?}");
        assert!(good || result.unwrap_err().to_string().contains("chmod 0700"));
    }
}

#[test]
fn links_are_refused() {
    let place = ready();
    let elsewhere = ready();
    let key = place.path().join(KEY_FILE);

    fs::hard_link(&key, place.path().join("second name")).unwrap();
    let hard = load_or_create(place.path()).unwrap_err().to_string();
    fs::remove_file(&key).unwrap();
    symlink(elsewhere.path().join(KEY_FILE), &key).unwrap();
    let soft = load_or_create(place.path()).unwrap_err().to_string();
    fs::remove_file(&key).unwrap();
    symlink("nowhere", &key).unwrap();
    let dangling = load_or_create(place.path()).unwrap_err().to_string();
    let alias = elsewhere.path().join("alias");
    symlink(elsewhere.path(), &alias).unwrap();
    let directory = load_or_create(&alias).unwrap_err().to_string();
    let with_slash = load_or_create(&alias.join("")).unwrap_err().to_string();

    assert!(hard.contains("2 hard links"), "{hard}");
    for message in [soft, dangling, directory, with_slash] {
        assert!(message.contains("is a symbolic link"), "{message}");
    }
    assert!(!place.path().join("nowhere").exists());
}

#[test]
fn pipes_and_sockets_are_refused_without_waiting() {
    let place = ready();
    let key = place.path().join(KEY_FILE);

    fs::remove_file(&key).unwrap();
    nix::unistd::mkfifo(&key, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let pipe = load_or_create(place.path()).unwrap_err().to_string();
    fs::remove_file(&key).unwrap();
    let _socket = UnixListener::bind(&key).unwrap();
    let socket = load_or_create(place.path()).unwrap_err().to_string();

    for message in [pipe, socket] {
        assert!(message.contains("not an ordinary file"), "{message}");
    }
}

#[test]
fn the_owner_rule() {
    assert_eq!(check_directory(1000, 0o40_700, 1000), Ok(()));
    assert_eq!(check_directory(998, 0o40_700, 0), Ok(()));
    let stranger = Err(Refusal::DirectoryOwner {
        owner: 998,
        user: 1000,
    });
    assert_eq!(check_directory(998, 0o40_700, 1000), stranger);
    let roots = Err(Refusal::DirectoryOwner { owner: 0, user: 1000 });
    assert_eq!(check_directory(0, 0o40_755, 1000), roots);
}

#[test]
fn what_root_makes_belongs_to_the_owner_of_the_directory() {
    assert!(
        geteuid().is_root(),
        "owners can be changed by root only: run scripts/test.sh as root"
    );
    let place = tempfile::tempdir().unwrap();
    set_mode(place.path(), 0o700);
    chown(place.path(), Some(STRANGER), Some(STRANGER)).unwrap();

    let key = load_or_create(place.path()).unwrap();
    trust(place.path(), "companion", key.public()).unwrap();

    for name in [KEY_FILE, PEERS_FILE, LOCK_FILE] {
        let metadata = fs::metadata(place.path().join(name)).unwrap();
        assert_eq!(
            (metadata.uid(), metadata.gid(), mode(&place.path().join(name))),
            (STRANGER, STRANGER, 0o600)
        );
    }
    assert_eq!(load_or_create(place.path()).unwrap().public(), key.public());
}

#[test]
fn a_file_of_another_owner_than_the_directory_is_refused() {
    assert!(
        geteuid().is_root(),
        "owners can be changed by root only: run scripts/test.sh as root"
    );
    for name in [KEY_FILE, PEERS_FILE] {
        let place = ready();
        chown(place.path().join(name), Some(STRANGER), None).unwrap();

        let key = load_or_create(place.path()).map(drop);
        let message = key
            .and_then(|()| Peers::load(place.path()))
            .unwrap_err()
            .to_string();

        assert!(
            message.contains(&format!("belongs to user id {STRANGER} and its directory to 0")),
            "{message}"
        );
        assert!(message.contains("chown 0"), "{message}");
    }
}

#[test]
fn windows_file_systems_are_refused_by_their_number() {
    // The numbers as statfs(2) gives them, and not the constants of the code.
    for (number, name) in [(0x0102_1997, "9p"), (0x6573_5546, "virtiofs")] {
        let message = refuse_file_system(FsType(number)).unwrap_err().to_string();
        assert!(
            message.contains(name) && message.contains("/var/lib/wslnetd"),
            "{message}"
        );
    }
    for number in [0xef53, 0x0102_1994, 0x9123_683e] {
        assert_eq!(refuse_file_system(FsType(number)), Ok(()));
    }
}

#[test]
fn a_directory_on_a_drive_like_those_of_windows_is_refused() {
    let place = tempfile::tempdir().unwrap();

    let Some(result) = fuse::mounted(place.path(), || load_or_create(place.path())) else {
        return fuse::skipped();
    };

    let message = result.unwrap_err().to_string();
    assert!(
        message.contains("virtiofs") && message.contains("/var/lib/wslnetd"),
        "{message}"
    );
    assert!(message.contains(&place.path().display().to_string()), "{message}");
}

#[test]
fn a_key_file_from_such_a_drive_is_refused() {
    let place = ready();
    let drive = tempfile::tempdir().unwrap();
    let key = place.path().join(KEY_FILE);

    let Some(result) = fuse::mounted(drive.path(), || {
        fuse::bind(&drive.path().join("key"), &key);
        load_or_create(place.path())
    }) else {
        return fuse::skipped();
    };

    let message = result.unwrap_err().to_string();
    assert!(
        message.contains("virtiofs") && message.contains(&key.display().to_string()),
        "{message}"
    );
}

#[test]
fn a_key_whose_maker_died_between_link_and_unlink_is_used() {
    let place = ready();
    let key = load_or_create(place.path()).unwrap();
    fs::hard_link(
        place.path().join(KEY_FILE),
        place.path().join(".key.0011223344556677.tmp"),
    )
    .unwrap();

    let again = load_or_create(place.path()).unwrap();

    assert_eq!(again.public(), key.public());
    assert_eq!(fs::metadata(place.path().join(KEY_FILE)).unwrap().nlink(), 1);
}

/// A state directory with a key and a list.
fn ready() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let key = load_or_create(place.path()).unwrap();
    trust(place.path(), "companion", key.public()).unwrap();
    place
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
