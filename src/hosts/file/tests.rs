#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::*;

#[cfg(unix)]
mod unix;

#[test]
fn a_file_is_replaced_and_comes_back_byte_for_byte() {
    let before = b"\xef\xbb\xbf127.0.0.1 localhost\r\n\xff\xfe not UTF-8\r\nno end";
    let (folder, path) = place(before);
    let mut file = HostsFile::new(path.clone());

    assert!(file.put(&names("10.0.0.1")).unwrap().changed);
    let with = fs::read(&path).unwrap();
    assert!(with.starts_with(before) && contains(&with, "\r\n10.0.0.1 shop.wsl # wslnet\r\n"));
    assert!(!file.put(&names("10.0.0.1")).unwrap().changed);

    assert!(file.put(&Names::default()).unwrap().changed);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_another_program_made_of_the_file_is_mended() {
    let (_folder, path) = place(b"a\n");
    let mut file = HostsFile::new(path.clone());
    file.put(&names("10.0.0.1")).unwrap();
    fs::write(&path, "reset by somebody\n").unwrap();

    assert!(file.look(&names("10.0.0.1")).unwrap().changed);
    assert_eq!(fs::read(&path).unwrap(), b"reset by somebody\n");
    assert!(file.put(&names("10.0.0.1")).unwrap().changed);

    assert!(contains(
        &fs::read(&path).unwrap(),
        "reset by somebody\n# BEGIN wslnet"
    ));
    assert!(!file.look(&names("10.0.0.1")).unwrap().changed);
}

#[test]
fn a_name_of_somebody_elses_is_told() {
    let (_folder, path) = place(b"10.0.0.9 shop.wsl\n");
    let mut file = HostsFile::new(path);

    for _ in 0..2 {
        let written = file.put(&names("10.0.0.1")).unwrap();
        assert_eq!(written.taken, [HostName::of_forward("shop").unwrap()].into());
        assert!(!written.changed);
    }
}

#[test]
fn leftovers_of_the_dead_are_swept_and_other_files_are_not() {
    let (folder, path) = place(b"a\n");
    let [ours, theirs] = ["hosts.wslnet-99999999.tmp", "hosts.ics"].map(|name| folder.path().join(name));
    fs::write(&ours, "half").unwrap();
    fs::write(&theirs, "b").unwrap();

    HostsFile::new(path).put(&names("10.0.0.1")).unwrap();

    assert!(!ours.exists() && theirs.exists());
}

#[test]
fn what_is_no_plain_file_is_refused_with_a_reason() {
    let (folder, path) = place(b"");
    fs::remove_file(&path).unwrap();
    let mut file = HostsFile::new(path.clone());
    assert!(matches!(file.put(&names("10.0.0.1")), Err(FileError::Missing(_))));
    assert!(matches!(file.probe(), Err(FileError::Missing(_))));

    fs::create_dir(&path).unwrap();
    assert!(matches!(
        file.put(&names("10.0.0.1")),
        Err(FileError::NotAFile(_))
    ));

    let utf16 = folder.path().join("utf16");
    fs::write(&utf16, b"\xff\xfea\0").unwrap();
    let refused = HostsFile::new(utf16).put(&names("10.0.0.1"));
    assert!(matches!(refused, Err(FileError::Utf16(_))));
}

/// The new file is never seen half written, and never without what is not ours.
#[test]
fn readers_see_the_old_file_or_the_new_one() {
    let before = "127.0.0.1 localhost\n".repeat(2000);
    let (_folder, path) = place(before.as_bytes());
    let mut file = HostsFile::new(path.clone());
    let done = AtomicBool::new(false);

    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // While Windows replaces it, it may refuse to open it.
                let Ok(seen) = fs::read_to_string(&path) else {
                    continue;
                };
                let rest = seen.strip_prefix(&before);
                assert!(
                    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with("# END wslnet\n")),
                    "{rest:?}"
                );
            }
        });
        // A reader that happens to have it open delays the change on Windows, and may refuse it.
        let written = (0..50).filter(|number| {
            let put = file.put(&names(&format!("10.0.0.{}", number % 5)));
            put.is_ok_and(|written| written.changed)
        });
        let written = written.count();
        done.store(true, Ordering::Relaxed);
        assert!(written > 0);
    });
}

/// A folder with a hosts file of this content.
pub(super) fn place(content: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    fs::write(&path, content).unwrap();
    (folder, path)
}

/// `shop.wsl` at this address.
pub(super) fn names(address: &str) -> Names {
    let mut names = Names::default();
    names
        .add(HostName::of_forward("shop").unwrap(), address.parse().unwrap())
        .unwrap();
    names
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}
