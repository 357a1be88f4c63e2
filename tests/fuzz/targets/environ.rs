//! The environment of a process, in pieces: the first byte says how long they are.

use std::io::{self, Read};

use wslnet_daemon::labels::fuzzing::{VALUE_LIMIT, variable};

use crate::printable::assert_line;

pub(super) fn target(bytes: &[u8]) {
    let Some((piece, environ)) = bytes.split_first() else {
        return;
    };
    let pieces = Pieces {
        rest: environ,
        size: usize::from(*piece).max(1),
    };

    let found = variable(pieces, "WSLNETD");

    let mut entries = environ.split(|byte| *byte == 0);
    let value = entries.find_map(|entry| entry.strip_prefix(b"WSLNETD="));
    match found {
        Ok(found) => assert_eq!(found.as_deref(), value),
        Err(why) => {
            assert!(value.is_some_and(|value| value.len() > VALUE_LIMIT), "{why}");
            assert_line(&why);
        }
    }
}

/// Hands out a text in pieces.
struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.size.min(buffer.len()).min(self.rest.len());
        let (now, later) = self.rest.split_at(size);
        buffer[..size].copy_from_slice(now);
        self.rest = later;
        Ok(size)
    }
}
