//! The public keys that this program trusts, each under a name, in one file that people can read.
//!
//! The companion has a name per distro; the daemon has one name, `companion`.

use std::collections::BTreeMap;
use std::collections::btree_map::Iter;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::files::{self, Directory, Privacy, Stamp};
use crate::keys::PublicKey;

/// The file in the state directory that lists the trusted keys.
pub const PEERS_FILE: &str = "trusted.toml";

const HEADER: &str = "\
# Public keys that this program trusts, one line a peer: name = \"key\".
# Written by `wslnetd pair`, `wslnetd trust KEY` and `wslnetd unpair` in a distro, and by `wslnet-companion pair NAME`,
# `wslnet-companion trust NAME KEY` and `wslnet-companion untrust NAME` on Windows.
# A running program notices a change by itself. Comments of your own are lost with the next change.

";

/// The trusted keys by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers(BTreeMap<String, PublicKey>);

/// The file, as written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    peers: BTreeMap<Name, PublicKey>,
}

/// A name that passed the check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = StoreError;

    fn try_from(name: String) -> Result<Self, StoreError> {
        if is_peer_name(&name) {
            Ok(Self(name))
        } else {
            Err(StoreError::Name { name })
        }
    }
}

/// Whether a key can be trusted under this name: 1 to 64 ASCII letters, digits, `.`, `_` and `-`, the first of them a letter or
/// a digit.
pub fn is_peer_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good_start = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    good_start && name.len() <= 64 && name.chars().all(allowed)
}

impl Peers {
    /// Reads the list in `dir`. A missing list or directory is an empty list.
    ///
    /// # Errors
    /// The file or directory cannot be used or is not safe to use, or the list has a fault: an unknown entry, a bad name,
    /// a bad key, one name twice, one key under two names. The message names the file.
    pub fn load(dir: &Path) -> Result<Self, StoreError> {
        match Directory::open(dir)? {
            Some(directory) => Self::read(&directory),
            None => Ok(Self::default()),
        }
    }

    /// The key of that name.
    pub fn get(&self, name: &str) -> Option<PublicKey> {
        self.0.get(name).copied()
    }

    /// Whose key this is.
    pub fn name_of(&self, key: &PublicKey) -> Option<&str> {
        self.0
            .iter()
            .find(|(_, trusted)| *trusted == key)
            .map(|(name, _)| name.as_str())
    }

    /// All names and keys, by name.
    pub fn iter(&self) -> Iter<'_, String, PublicKey> {
        self.0.iter()
    }

    /// How many keys are trusted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no key is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn read(directory: &Directory) -> Result<Self, StoreError> {
        let Some(content) = directory.read(PEERS_FILE, Privacy::Public)? else {
            return Ok(Self::default());
        };
        Self::parse(&content, &directory.join(PEERS_FILE))
    }

    /// Reads the list from the content of the file at `path`.
    pub(crate) fn parse(content: &[u8], path: &Path) -> Result<Self, StoreError> {
        let document: Document = toml::from_slice(content).map_err(|source| StoreError::Peers {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let mut peers = Self::default();
        for (Name(name), key) in document.peers {
            if let Some(first) = peers.name_of(&key) {
                return Err(StoreError::DuplicateKey {
                    path: path.to_owned(),
                    first: first.to_owned(),
                    second: name,
                });
            }
            peers.0.insert(name, key);
        }
        Ok(peers)
    }

    pub(crate) fn text(&self) -> Result<String, StoreError> {
        let peers = self
            .0
            .iter()
            .map(|(name, key)| (Name(name.clone()), *key))
            .collect();
        let body =
            toml::to_string(&Document { peers }).map_err(|source| StoreError::Format(Box::new(source)))?;
        Ok(format!("{HEADER}{body}"))
    }
}

impl<'a> IntoIterator for &'a Peers {
    type Item = (&'a String, &'a PublicKey);
    type IntoIter = Iter<'a, String, PublicKey>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Trusts `key` under `name` from now on, in place of the key that had the name before; that one is returned. Makes
/// the directory where it is missing.
///
/// # Errors
/// A bad name, a key that is trusted under another name, or a list that cannot be read or written.
pub fn trust(dir: &Path, name: &str, key: PublicKey) -> Result<Option<PublicKey>, StoreError> {
    let Name(name) = name.to_owned().try_into()?;
    let directory = Directory::open_or_create(dir)?;
    let lock = directory.lock()?;
    let mut peers = Peers::read(&directory)?;
    if let Some(other) = peers.name_of(&key).filter(|other| *other != name) {
        return Err(StoreError::OtherName {
            key,
            name: other.to_owned(),
        });
    }
    let before = peers.0.insert(name, key);
    if before != Some(key) {
        lock.replace(PEERS_FILE, peers.text()?.as_bytes())?;
    }
    Ok(before)
}

/// Stops trusting the key of that name, and returns it.
///
/// # Errors
/// No such name, or a list that cannot be read or written.
pub fn untrust(dir: &Path, name: &str) -> Result<PublicKey, StoreError> {
    let unknown = |peers: &Peers| {
        let names: Vec<&str> = peers.0.keys().map(String::as_str).collect();
        StoreError::UnknownName {
            name: name.to_owned(),
            known: names.join(", "),
        }
    };
    let Some(directory) = Directory::open(dir)? else {
        return Err(unknown(&Peers::default()));
    };
    let lock = directory.lock()?;
    let mut peers = Peers::read(&directory)?;
    let key = peers.0.remove(name).ok_or_else(|| unknown(&peers))?;
    lock.replace(PEERS_FILE, peers.text()?.as_bytes())?;
    Ok(key)
}

/// A cheap sign by which a running program notices that the list in `dir` has changed: poll, compare, and load when it
/// differs. Take the stamp *before* loading: then a change in between is seen the next time.
///
/// # Errors
/// The system does not let the program look. A missing list is no error.
pub fn stamp(dir: &Path) -> io::Result<Stamp> {
    files::stamp(&dir.join(PEERS_FILE))
}

#[cfg(test)]
mod tests;
