//! What Linux has of its own: links, owners, mounts, and the end of a process at any moment.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, setfsuid};

use super::*;

#[test]
fn owner_and_mode_stay() {
    let (_folder, path) = place(b"a\n");
    chown(&path, Some(4242), Some(4343)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();

    HostsFile::new(path.clone()).put(&names("10.0.0.1")).unwrap();

    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777),
        (4242, 4343, 0o640)
    );
}

#[test]
fn a_link_is_left_alone_and_so_is_what_it_leads_to() {
    let (folder, target) = place(b"a\n");
    let path = folder.path().join("link");
    symlink(&target, &path).unwrap();

    assert!(matches!(
        HostsFile::new(path.clone()).put(&names("10.0.0.1")),
        Err(FileError::Link(_))
    ));

    assert!(path.is_symlink());
    assert_eq!(fs::read(&target).unwrap(), b"a\n");
}

#[test]
fn mounts_that_cannot_be_written_or_replaced_are_reasons() {
    let (folder, path) = place(b"a\n");
    let (other, theirs) = place(b"of an engine\n");
    let refusals = std::thread::spawn(move || {
        // For this thread alone.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, "/", none, private, none).unwrap();
        let mut file = HostsFile::new(path.clone());
        mount(Some(&theirs), &path, none, MsFlags::MS_BIND, none).unwrap();
        let mounted = file.put(&names("10.0.0.1")).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"of an engine\n");

        mount(Some(other.path()), folder.path(), none, MsFlags::MS_BIND, none).unwrap();
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, folder.path(), none, read_only, none).unwrap();
        let read_only = file.put(&names("10.0.0.1")).unwrap_err();
        (mounted, file.probe().unwrap_err(), read_only)
    });

    let (mounted, probed, read_only) = refusals.join().unwrap();

    assert!(matches!(mounted, FileError::Mounted(_)), "{mounted}");
    assert!(matches!(probed, FileError::ReadOnly(_)), "{probed}");
    assert!(matches!(read_only, FileError::ReadOnly(_)), "{read_only}");
}

/// In the environment of the process that is killed: the file that it writes without an end.
const VICTIM: &str = "WSLNET_HOSTS_VICTIM";

#[test]
fn whoever_is_killed_while_writing_leaves_the_old_file_or_the_new_one() {
    if let Some(path) = std::env::var_os(VICTIM) {
        let mut file = HostsFile::new(path.into());
        for number in 0_u8.. {
            file.put(&names(&format!("10.0.0.{}", number % 5))).unwrap();
        }
    }
    let before = "127.0.0.1 localhost\n".repeat(20_000);
    let (_folder, path) = place(before.as_bytes());

    for _ in 0..20 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "file::tests::unix::whoever_is_killed_while_writing_leaves_the_old_file_or_the_new_one",
            ])
            .env(VICTIM, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let first = fs::metadata(&path).unwrap().ino();
        // It writes by now, and goes on doing so.
        while fs::metadata(&path).unwrap().ino() == first {
            assert_eq!(victim.try_wait().unwrap(), None);
        }
        victim.kill().unwrap();
        victim.wait().unwrap();

        let seen = fs::read_to_string(&path).unwrap();
        assert!(seen.starts_with(&before) && seen.ends_with("# END wslnet\n"));
    }
    let mut file = HostsFile::new(path.clone());
    file.put(&Names::default()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_eq!(file.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn who_has_no_right_is_told_so_and_leaves_nothing_behind() {
    let (folder, path) = place(b"a\n");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let refusals = std::thread::spawn(move || {
        // This thread alone meets files as nobody from here on.
        setfsuid(Uid::from_raw(65534));
        let mut file = HostsFile::new(path);
        let looked = file.look(&names("10.0.0.1")).unwrap();
        (looked.changed, file.put(&names("10.0.0.1")), file.probe())
    });

    let (would_change, put, probed) = refusals.join().unwrap();

    assert!(would_change);
    assert!(matches!(put, Err(FileError::NoRight(_))), "{put:?}");
    assert!(matches!(probed, Err(FileError::NoRight(_))), "{probed:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
