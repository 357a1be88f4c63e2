//! One variable of a process's environment, and nothing else of it: environments hold secrets.
//!
//! `/proc/PID/environ` is the memory of the process. Opening and reading it can take for ever: it needs the lock of that
//! memory, which a process can hold for as long as it likes, for instance by a file system of its own that does not answer.
//! (The environment itself can be neither on such a file system nor in the hands of userfaultfd: FOLL_ANON, and faults
//! that may not be retried, mm/gup.c.) So this is only called on threads that may be lost.
//!
//! What is read is the environment as the process was started with. A program that writes its title over it (nginx,
//! PostgreSQL, redis, sshd: setproctitle(3bsd)) has erased it by then; what its unit gave it, systemd tells (`units`).

use std::io::{self, Read};

use zeroize::Zeroizing;

use super::processes::{OpenProcess, is_over};

/// How much is read at a time, in bytes: the kernel hands out no more than a page.
const PIECE: usize = 4096;
/// The longest environment that is read, in bytes. Arguments and environment together have no more than 6 MiB when a
/// program starts (three quarters of _STK_LIM, fs/exec.c); only by prctl(PR_SET_MM) can a process claim more.
const ENVIRONMENT_LIMIT: u64 = 8 << 20;
/// The longest value that is taken, in bytes.
pub(super) const VALUE_LIMIT: usize = 512;

/// A variable could not be found out.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnvironError {
    /// The kernel says no.
    #[error("{0}; this needs root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH")]
    Denied(io::Error),
    /// Another error.
    #[error("{0}")]
    Read(io::Error),
    /// More than a program can be started with.
    #[error("the environment is larger than {} MiB, which no program is started with", ENVIRONMENT_LIMIT >> 20)]
    TooLarge,
    /// The value is far too long.
    #[error("the value is longer than {VALUE_LIMIT} bytes")]
    TooLong,
}

/// The value of a variable in the environment `file` of a process; `None` where it has none, or is gone. May block for ever.
///
/// # Errors
/// When it cannot be told.
pub(super) fn variable(
    process: &OpenProcess,
    file: &str,
    name: &str,
) -> Result<Option<Vec<u8>>, EnvironError> {
    let found = process
        .open(file)
        .map_err(EnvironError::Read)
        .and_then(|environ| find(environ, name));
    match found {
        Err(EnvironError::Read(error)) if is_over(&error) => Ok(None),
        Err(EnvironError::Read(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(EnvironError::Denied(error))
        }
        other => other,
    }
}

/// The first value of a variable in an environment, as getenv(3) would find it.
pub(super) fn find(mut environ: impl Read, name: &str) -> Result<Option<Vec<u8>>, EnvironError> {
    let mut search = Search::new(name);
    let mut piece = Zeroizing::new([0; PIECE]);
    let mut total = 0;
    while !search.is_over() {
        let length = match environ.read(piece.as_mut_slice()) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(EnvironError::Read(error)),
        };
        total += length as u64;
        if total > ENVIRONMENT_LIMIT {
            return Err(EnvironError::TooLarge);
        }
        search.feed(piece.get(..length).unwrap_or_default());
    }
    search.end()
}

/// Looks for `NAME=` at the start of the entries of an environment that comes in pieces. Entries end in NUL.
#[derive(Debug)]
struct Search {
    /// `NAME=`.
    wanted: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// So many bytes of the entry are as wanted.
    Matching(usize),
    /// In an entry of no interest.
    Skipping,
    /// In the value.
    Value(Vec<u8>),
    Found(Vec<u8>),
    TooLong,
}

impl Search {
    fn new(name: &str) -> Self {
        Self {
            wanted: format!("{name}=").into_bytes(),
            state: State::Matching(0),
        }
    }

    /// Whether the rest does not matter.
    fn is_over(&self) -> bool {
        matches!(self.state, State::Found(_) | State::TooLong)
    }

    fn feed(&mut self, piece: &[u8]) {
        for byte in piece {
            self.step(*byte);
        }
    }

    fn step(&mut self, byte: u8) {
        match &mut self.state {
            State::Matching(_) | State::Skipping if byte == 0 => self.state = State::Matching(0),
            State::Skipping => {}
            State::Matching(count) if self.wanted.get(*count) == Some(&byte) => {
                *count += 1;
                if *count == self.wanted.len() {
                    self.state = State::Value(Vec::new());
                }
            }
            State::Matching(_) => self.state = State::Skipping,
            State::Value(value) if byte == 0 => self.state = State::Found(std::mem::take(value)),
            State::Value(value) if value.len() == VALUE_LIMIT => self.state = State::TooLong,
            State::Value(value) => value.push(byte),
            State::Found(_) | State::TooLong => {}
        }
    }

    fn end(self) -> Result<Option<Vec<u8>>, EnvironError> {
        match self.state {
            State::Matching(_) | State::Skipping => Ok(None),
            // The last entry need not be closed.
            State::Value(value) | State::Found(value) => Ok(Some(value)),
            State::TooLong => Err(EnvironError::TooLong),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_value_is_found_wherever_it_stands() {
        for environ in [
            "WSLNETD=off\0A=1\0",
            "A=1\0WSLNETD=off\0B=2\0",
            "A=1\0WSLNETD=off",
            "\0\0WSLNETD=off\0",
            "XWSLNETD=no\0WSLNETDX=no\0WSLNETD\0WSLNETD=off\0WSLNETD=later\0",
        ] {
            assert_eq!(
                find(environ.as_bytes(), "WSLNETD").unwrap().unwrap(),
                b"off",
                "{environ:?}"
            );
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for environ in [
            "",
            "\0",
            "A=WSLNETD=off\0",
            "WSLNETD\0",
            "wslnetd=off\0",
            "WSLNETD",
            "AWSLNETD=off\0",
        ] {
            assert_eq!(find(environ.as_bytes(), "WSLNETD").unwrap(), None, "{environ:?}");
        }
        assert_eq!(find(&b"WSLNETD=\0"[..], "WSLNETD").unwrap().unwrap(), b"");
    }

    #[test]
    fn a_value_is_taken_whole_or_not_at_all() {
        let longest = [b"WSLNETD=".as_slice(), &[b'x'; VALUE_LIMIT], b"\0"].concat();
        let longer = [b"WSLNETD=".as_slice(), &[b'x'; VALUE_LIMIT + 1], b"\0"].concat();

        assert_eq!(
            find(longest.as_slice(), "WSLNETD").unwrap().unwrap().len(),
            VALUE_LIMIT
        );
        assert!(matches!(
            find(longer.as_slice(), "WSLNETD"),
            Err(EnvironError::TooLong)
        ));
    }

    #[test]
    fn an_environment_without_end_is_given_up() {
        let within = io::repeat(b'x').take(ENVIRONMENT_LIMIT - 20);

        let found = find(within.chain(&b"\0WSLNETD=off\0"[..]), "WSLNETD");
        let endless = find(io::repeat(b'x'), "WSLNETD");

        assert_eq!(found.unwrap().unwrap(), b"off");
        assert!(matches!(endless, Err(EnvironError::TooLarge)));
    }

    /// Hands out a text in pieces of these sizes.
    struct Pieces<'a>(&'a [u8], Vec<usize>);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.pop().unwrap_or(PIECE).min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(size);
            buffer[..size].copy_from_slice(now);
            self.0 = later;
            Ok(size)
        }
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(
            entries in proptest::collection::vec("(WSLNETD|WSL|)=?[a-z=]{0,12}", 0..12),
            sizes in proptest::collection::vec(1_usize..9, 0..40),
        ) {
            let environ = entries.join("\0");
            let expected = entries.iter().find_map(|entry| entry.strip_prefix("WSLNETD=")).map(str::as_bytes);

            let found = find(Pieces(environ.as_bytes(), sizes), "WSLNETD").unwrap();

            prop_assert_eq!(found.as_deref(), expected);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = find(bytes.as_slice(), "WSLNETD");
        }
    }
}
