#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

//! What holds on every platform. Owners, modes and links are tested with the Linux side of `files`.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Barrier;
use std::thread;

use super::*;

#[test]
fn the_key_is_made_once_and_then_stays() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("state/of/this");

    let first = load_or_create(&dir).unwrap();
    let bytes = fs::read(dir.join(KEY_FILE)).unwrap();
    let second = load_or_create(&dir).unwrap();

    assert_eq!(first.public(), second.public());
    assert_eq!(fs::read(dir.join(KEY_FILE)).unwrap(), bytes);
    assert_eq!(KeyPair::from_pkcs8(&bytes).unwrap().public(), first.public());
}

#[test]
fn eight_at_once_agree_on_one_key() {
    for _ in 0..20 {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("state");
        let start = Barrier::new(8);

        let keys: BTreeSet<_> = thread::scope(|scope| {
            let one = || {
                start.wait();
                load_or_create(&dir).unwrap().public()
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });

        assert_eq!(keys.len(), 1);
        assert_eq!(keys.first(), Some(&load_or_create(&dir).unwrap().public()));
    }
}

#[test]
fn a_damaged_key_is_an_error_and_stays_as_it_is() {
    let whole = KeyPair::generate().unwrap();
    let long = vec![0; 300_000];
    let cases: [(&[u8], &str); 4] = [
        (b"", "holds no usable key; delete it"),
        (b"not a key\n", "holds no usable key; delete it"),
        (&whole.pkcs8()[..50], "holds no usable key; delete it"),
        (&long, "longer than"),
    ];
    for (content, expected) in cases {
        let place = tempfile::tempdir().unwrap();
        load_or_create(place.path()).unwrap();
        fs::write(place.path().join(KEY_FILE), content).unwrap();

        let message = load_or_create(place.path()).unwrap_err().to_string();

        assert!(message.contains(expected), "{message}");
        assert!(
            message.contains(&place.path().join(KEY_FILE).display().to_string()),
            "{message}"
        );
        assert_eq!(fs::read(place.path().join(KEY_FILE)).unwrap(), content);
    }
}

#[test]
fn an_existing_key_is_not_overwritten_even_under_the_lock() {
    let place = tempfile::tempdir().unwrap();
    let first = load_or_create(place.path()).unwrap();
    let directory = Directory::open_or_create(place.path()).unwrap();

    directory
        .lock()
        .unwrap()
        .create(KEY_FILE, KeyPair::generate().unwrap().pkcs8())
        .unwrap();

    assert_eq!(load_or_create(place.path()).unwrap().public(), first.public());
}

#[test]
fn a_directory_in_the_place_of_the_key_or_a_file_in_the_place_of_the_directory_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let (dir, file) = (place.path().join("state"), place.path().join("file"));
    fs::create_dir_all(dir.join(KEY_FILE)).unwrap();
    fs::write(&file, b"").unwrap();

    let key = load_or_create(&dir).unwrap_err().to_string();
    let directory = load_or_create(&file).unwrap_err().to_string();

    assert!(key.contains("not an ordinary file"), "{key}");
    assert!(directory.contains("not a directory"), "{directory}");
}

#[test]
fn nothing_but_the_key_and_the_lock_is_left() {
    let place = tempfile::tempdir().unwrap();

    load_or_create(place.path()).unwrap();

    let mut names: Vec<_> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["key", "lock"]);
}
