//! The block of names in a hosts file. The first byte says which names are wanted, the second how lines end where the file
//! does not show it; the rest is the file. All of it is also a set of names as one program sends it to another.

use std::net::IpAddr;

use wslnet_hosts::block::{LineEnd, rewrite};
use wslnet_hosts::{HostName, NAMES, Names};

/// The names that a file may be given.
const WANTED: [(&str, [u8; 4]); 4] = [
    ("shop.wsl", [192, 168, 1, 20]),
    ("windows.wsl", [172, 20, 0, 1]),
    ("a.wsl", [10, 0, 0, 1]),
    ("web-1.wsl", [10, 0, 0, 2]),
];

pub(super) fn target(bytes: &[u8]) {
    sent(bytes);
    let [chosen, end, file @ ..] = bytes else {
        return;
    };
    let line_end = if end & 1 == 0 { LineEnd::Lf } else { LineEnd::CrLf };
    let names = names(*chosen);
    let Ok(written) = rewrite(file, &names, line_end) else {
        let mut pairs = file.windows(2);
        assert!(pairs.any(|pair| pair == b"\xff\xfe" || pair == b"\xfe\xff"));
        return;
    };

    // Written once more, it is the same.
    let again = rewrite(&written.bytes, &names, line_end);
    assert!(again.is_ok_and(|again| again.bytes == written.bytes && again.taken == written.taken));
    // With other names in between, too.
    let without = rewrite(&written.bytes, &Names::default(), line_end).map(|it| it.bytes.into_owned());
    let before = rewrite(file, &Names::default(), line_end).map(|it| it.bytes.into_owned());
    assert_eq!(without, before);
    for (name, address) in names.iter() {
        let lines = lines_with(&written.bytes, &format!("{address} {name} # wslnet"));
        assert_eq!(lines, usize::from(!written.taken.contains(name)), "{name}");
    }
    for name in &written.taken {
        assert!(names.get(name).is_some());
        let text = before.as_deref().unwrap_or_default().to_ascii_lowercase();
        let mut words = text.windows(name.as_str().len());
        assert!(words.any(|word| word == name.as_str().as_bytes()), "{name}");
    }
}

fn names(chosen: u8) -> Names {
    let mut names = Names::default();
    for (number, (name, address)) in WANTED.into_iter().enumerate() {
        if chosen & (1 << number) != 0
            && let Some(name) = HostName::parse(name)
        {
            assert_eq!(names.add(name, IpAddr::from(address)), Ok(()));
        }
    }
    names
}

/// How many lines of the file are this one.
fn lines_with(file: &[u8], wanted: &str) -> usize {
    let lines = file.split(|byte| *byte == b'\n');
    lines
        .filter(|line| line.trim_ascii_end() == wanted.as_bytes())
        .count()
}

/// What another program sends is within bounds, and reads back.
fn sent(json: &[u8]) {
    let Ok(names) = serde_json::from_slice::<Names>(json) else {
        return;
    };
    assert!(names.len() <= NAMES);
    for (name, address) in names.iter() {
        assert_eq!(HostName::parse(name.as_str()).as_ref(), Some(name));
        assert!(!address.is_unspecified() && !address.is_multicast());
    }
    let again = serde_json::to_vec(&names).and_then(|json| serde_json::from_slice::<Names>(&json));
    assert!(again.is_ok_and(|again| again == names));
}
