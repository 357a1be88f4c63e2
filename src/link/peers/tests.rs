#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;

use super::*;
use crate::keys::KeyPair;

/// Tells a child process of a test where to work, and under which name.
const DIR: &str = "WSLNET_LINK_TEST_DIR";
const NAME: &str = "WSLNET_LINK_TEST_NAME";

#[test]
fn nothing_is_trusted_at_first() {
    let place = tempfile::tempdir().unwrap();

    assert!(Peers::load(place.path()).unwrap().is_empty());
    assert!(Peers::load(&place.path().join("missing")).unwrap().is_empty());
    assert!(!place.path().join("missing").exists());
}

#[test]
fn trust_adds_and_replaces_and_untrust_removes() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("state");
    let (old, new, other) = (key(), key(), key());

    assert_eq!(trust(&dir, "Ubuntu-24.04", old).unwrap(), None);
    assert_eq!(trust(&dir, "debian", other).unwrap(), None);
    assert_eq!(trust(&dir, "Ubuntu-24.04", new).unwrap(), Some(old));
    let peers = Peers::load(&dir).unwrap();
    assert_eq!(peers.get("Ubuntu-24.04"), Some(new));
    assert_eq!(peers.name_of(&other), Some("debian"));
    assert_eq!(peers.name_of(&old), None);
    assert_eq!(peers.len(), 2);

    assert_eq!(untrust(&dir, "Ubuntu-24.04").unwrap(), new);
    let left: Vec<_> = Peers::load(&dir)
        .unwrap()
        .iter()
        .map(|(name, key)| (name.clone(), *key))
        .collect();
    assert_eq!(left, [("debian".to_owned(), other)]);
}

#[test]
fn one_key_has_one_name() {
    let place = tempfile::tempdir().unwrap();
    let shared = key();
    trust(place.path(), "first", shared).unwrap();

    let message = trust(place.path(), "second", shared).unwrap_err().to_string();

    assert!(message.contains("already trusted as \"first\""), "{message}");
    assert_eq!(trust(place.path(), "first", shared).unwrap(), Some(shared));
    assert_eq!(Peers::load(place.path()).unwrap().get("second"), None);
}

#[test]
fn names_are_checked() {
    let place = tempfile::tempdir().unwrap();
    let longest = "a".repeat(64);
    for good in ["companion", "0", "Ubuntu-24.04", "a_b.c", &longest] {
        trust(place.path(), good, key()).unwrap();
    }
    let too_long = "a".repeat(65);
    for bad in [
        "",
        ".a",
        "-a",
        "_a",
        "a b",
        "a/b",
        "a\n",
        "é",
        "a\u{1b}[0m",
        &too_long,
    ] {
        let error = trust(place.path(), bad, key()).unwrap_err();
        assert!(matches!(error, StoreError::Name { .. }), "{bad:?}: {error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
    assert_eq!(Peers::load(place.path()).unwrap().len(), 5);
}

#[test]
fn an_unknown_name_cannot_be_untrusted_and_the_known_ones_are_listed() {
    let place = tempfile::tempdir().unwrap();
    let empty = untrust(&place.path().join("missing"), "x")
        .unwrap_err()
        .to_string();
    trust(place.path(), "b", key()).unwrap();
    trust(place.path(), "a", key()).unwrap();

    let message = untrust(place.path(), "x").unwrap_err().to_string();

    assert!(message.ends_with("\"x\"; trusted are: a, b"), "{message}");
    assert!(empty.ends_with("\"x\"; trusted are: none"), "{empty}");
}

#[test]
fn the_file_is_for_people() {
    let place = tempfile::tempdir().unwrap();
    let key = key();

    trust(place.path(), "Ubuntu-24.04", key).unwrap();

    let text = fs::read_to_string(place.path().join(PEERS_FILE)).unwrap();
    assert!(
        text.starts_with("# Public keys that this program trusts"),
        "{text}"
    );
    assert!(text.contains("`wslnetd trust KEY`"), "{text}");
    assert!(
        text.ends_with(&format!("[peers]\n\"Ubuntu-24.04\" = \"{key}\"\n")),
        "{text}"
    );
}

#[test]
fn faults_in_the_file_are_errors_that_name_it_and_commands_leave_it_alone() {
    let (one, two) = (key(), key());
    let cases = [
        ("[peers]\na = \"12\"\n".to_owned(), "2 digits"),
        ("[peers]\na = 12\n".to_owned(), "line 2"),
        (format!("[peers]\na = \"{one}\"\na = \"{two}\"\n"), "line 3"),
        (
            format!("[peers]\na = \"{one}\"\nb = \"{one}\"\n"),
            "\"a\" and \"b\" have the same key",
        ),
        (format!("[peers]\n\"a b\" = \"{one}\"\n"), "is not a name"),
        (format!("[peers]\nUbuntu-24.04 = \"{one}\"\n"), "line 2"),
        ("mode = 1\n[peers]\n".to_owned(), "unknown field"),
        ("[peers\n".to_owned(), "line 1"),
        (String::new(), "missing field"),
        ("\u{0}\u{1}".to_owned(), "line 1"),
    ];
    for (text, expected) in cases {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join(PEERS_FILE);
        trust(place.path(), "before", key()).unwrap();
        fs::write(&file, &text).unwrap();

        for error in [
            Peers::load(place.path()).unwrap_err(),
            trust(place.path(), "new", two).unwrap_err(),
            untrust(place.path(), "a").unwrap_err(),
        ] {
            let message = chain(&error);
            assert!(message.contains(expected), "{text:?}: {message}");
            assert!(
                message.contains(&file.display().to_string()),
                "{text:?}: {message}"
            );
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn the_stamp_changes_with_the_list_and_only_then() {
    let place = tempfile::tempdir().unwrap();
    let missing = stamp(&place.path().join("no such directory")).unwrap();
    let empty = stamp(place.path()).unwrap();
    let first = key();
    trust(place.path(), "a", first).unwrap();
    let one = stamp(place.path()).unwrap();
    trust(place.path(), "a", first).unwrap();
    let same = stamp(place.path()).unwrap();
    trust(place.path(), "a", key()).unwrap();
    let replaced = stamp(place.path()).unwrap();

    assert_eq!(missing, empty);
    assert_ne!(empty, one);
    assert_eq!(one, same);
    assert_ne!(same, replaced);
}

#[test]
fn eight_threads_that_trust_at_once_lose_nothing() {
    let place = tempfile::tempdir().unwrap();
    let start = Barrier::new(8);

    thread::scope(|scope| {
        for thread in 0..8 {
            let (start, dir) = (&start, place.path());
            scope.spawn(move || {
                start.wait();
                for round in 0..5 {
                    trust(dir, &format!("thread-{thread}.{round}"), key()).unwrap();
                }
                untrust(dir, &format!("thread-{thread}.0")).unwrap();
            });
        }
    });

    assert_eq!(Peers::load(place.path()).unwrap().len(), 8 * 4);
}

#[test]
fn a_reader_never_sees_half_a_list() {
    let place = tempfile::tempdir().unwrap();
    trust(place.path(), "always", key()).unwrap();

    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..30 {
                trust(place.path(), &format!("round-{round}"), key()).unwrap();
            }
        });
        let mut seen = 0;
        while !writer.is_finished() {
            let peers = Peers::load(place.path()).unwrap();
            assert!(peers.get("always").is_some() && peers.len() >= seen);
            seen = peers.len();
        }
    });
}

#[test]
fn eight_processes_that_trust_at_once_lose_nothing() {
    let place = tempfile::tempdir().unwrap();

    let children: Vec<_> = (0..8)
        .map(|n| {
            child("child_trusts", place.path())
                .env(NAME, format!("process-{n}"))
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }

    assert_eq!(Peers::load(place.path()).unwrap().len(), 8 * 5);
}

#[test]
fn a_command_that_dies_before_the_rename_leaves_the_old_list_and_stops_nobody() {
    let place = tempfile::tempdir().unwrap();
    trust(place.path(), "old", key()).unwrap();
    let before = fs::read(place.path().join(PEERS_FILE)).unwrap();

    let died = child("child_dies_before_the_rename", place.path())
        .status()
        .unwrap();

    assert!(!died.success());
    assert_eq!(leftovers(place.path()), 1);
    assert_eq!(fs::read(place.path().join(PEERS_FILE)).unwrap(), before);
    trust(place.path(), "new", key()).unwrap();
    assert_eq!(leftovers(place.path()), 0);
    assert_eq!(Peers::load(place.path()).unwrap().len(), 2);
}

/// Does nothing unless it is the child process of a test above.
#[test]
fn child_trusts() {
    let Some(dir) = env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let name = env::var(NAME).unwrap();
    for round in 0..5 {
        trust(&dir, &format!("{name}.{round}"), key()).unwrap();
    }
}

/// Does nothing unless it is the child process of a test above.
#[test]
fn child_dies_before_the_rename() {
    let Some(dir) = env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let directory = Directory::open_or_create(&dir).unwrap();
    let _lock = directory.lock().unwrap();
    directory.write_temporary(PEERS_FILE, b"[peers]\n").unwrap();
    std::process::abort();
}

/// This test program again, as one of the children above.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", &format!("peers::tests::{test}")]);
    command.env(DIR, dir).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn leftovers(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_str().unwrap().ends_with(".tmp"))
        .count()
}

fn key() -> PublicKey {
    KeyPair::generate().unwrap().public()
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
