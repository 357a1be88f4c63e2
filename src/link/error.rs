//! What can go wrong with the files of the state directory, in words that name the way out.

use std::io;
use std::path::PathBuf;

use crate::keys::{KeyError, PublicKey};

/// Why the key or the list of trusted keys cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory is missing and cannot be made.
    #[error("cannot create the state directory {}", path.display())]
    CreateDirectory {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The state directory is there and cannot be opened.
    #[error("cannot open the state directory {}", path.display())]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The lock file cannot be made or opened.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Somebody else keeps the lock.
    #[error("another command has held {} for 10 seconds; wait until it ends, or end it, and try again", path.display())]
    LockHeld {
        /// The lock file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file cannot be written. The old one, if any, is untouched.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file or directory is there and is not safe to use.
    #[error("refusing to use {}: {reason}", path.display())]
    Refused {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it, and the way out.
        reason: Refusal,
    },
    /// No new key could be made.
    #[error("cannot make a new key")]
    Generate(#[source] KeyError),
    /// The key file holds something else.
    #[error("{} holds no usable key; delete it to get a new one, then pair again", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What the parser says.
        source: KeyError,
    },
    /// The list of trusted keys has a fault.
    #[error("{} has an error; correct it, or delete it and trust the other side again", path.display())]
    Peers {
        /// The list.
        path: PathBuf,
        /// Line, column and fault.
        source: Box<toml::de::Error>,
    },
    /// One key stands in the list under two names.
    #[error("{}: {first:?} and {second:?} have the same key; delete one of the two lines", path.display())]
    DuplicateKey {
        /// The list.
        path: PathBuf,
        /// The name that comes first in the alphabet.
        first: String,
        /// The other name.
        second: String,
    },
    /// The new list cannot be put into words.
    #[error("cannot write down the list of trusted keys")]
    Format(#[source] Box<toml::ser::Error>),
    /// A name that the list cannot hold.
    #[error(
        "{name:?} is not a name for a key: use 1 to 64 letters, digits, `.`, `_`, `-`, and start with a letter or digit"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// The key is trusted already, as somebody else's.
    #[error(
        "the key {key} is already trusted as {name:?}; a copied distro needs a key of its own (delete its key file), or untrust {name:?} first"
    )]
    OtherName {
        /// The key.
        key: PublicKey,
        /// Whose it is.
        name: String,
    },
    /// Nothing to take away.
    #[error("no key is trusted under the name {name:?}; trusted are: {}", if known.is_empty() { "none" } else { known })]
    UnknownName {
        /// What was given.
        name: String,
        /// All names in the list, with commas.
        known: String,
    },
}

/// What makes a file or directory unsafe to use, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It lies on a file system that shows it to Windows.
    #[error(
        "it lies on a {file_system} file system, as Windows drives do in WSL: every program of the Windows user and \
         every other distro could read it; use a directory on the distro's own disk, such as /var/lib/wslnetd"
    )]
    SharedWithWindows {
        /// The name of the file system.
        file_system: &'static str,
    },
    /// A symbolic link, or on Windows a junction.
    #[error("it is a symbolic link; put the real thing in its place")]
    Link,
    /// A file where a directory should be.
    #[error("it is not a directory; name a directory, or move it away")]
    NotADirectory,
    /// A directory, pipe, socket or device where a file should be.
    #[error("it is not an ordinary file; move it away")]
    NotAFile,
    /// A second name for the same file may lie anywhere.
    #[error(
        "it has {links} hard links, so its content may be known elsewhere; delete it and run the command again"
    )]
    HardLinks {
        /// How many names the file has.
        links: u64,
    },
    /// The state directory is somebody else's.
    #[error(
        "it belongs to user id {owner} and this program runs as {user}; \
         run it as that user or with sudo, or give it another state directory"
    )]
    DirectoryOwner {
        /// Numeric user id of the directory's owner.
        owner: u32,
        /// Effective user id of this process.
        user: u32,
    },
    /// The file's owner is not the state directory's.
    #[error(
        "it belongs to user id {owner} and its directory to {expected}; if the file is yours: chown {expected} on it, \
         otherwise delete it"
    )]
    FileOwner {
        /// Numeric user id of the file's owner.
        owner: u32,
        /// Numeric user id of the directory's owner.
        expected: u32,
    },
    /// Group or others have rights that they must not have.
    #[error("its mode {mode:04o} gives rights to others; run chmod {fix:04o} on it")]
    Mode {
        /// The permission bits found.
        mode: u32,
        /// The permission bits that will do.
        fix: u32,
    },
    /// Longer than any key or list of ours.
    #[error("it is longer than {limit} bytes, so it is not ours; move it away")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
}
