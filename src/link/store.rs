//! The program's own key pair, kept in one file of the state directory.

use std::path::Path;

use crate::error::StoreError;
use crate::files::{Directory, Privacy};
use crate::keys::KeyPair;

/// The file in the state directory that holds the private key: PKCS#8, DER.
pub const KEY_FILE: &str = "key";

/// Reads the program's key pair from `dir`, and makes directory (mode 0700) and key (0600) where they are missing.
/// An existing key is never overwritten, and programs that start at the same moment get the same key.
///
/// On Linux the directory belongs to the user who runs the program, or the program runs as root; what root makes there
/// is given to the directory's owner. On Windows the default directory lies in the user's profile and files inherit its
/// access list, which is not checked here.
///
/// # Errors
/// The file or directory cannot be used, or is not safe to use (a Windows drive, a link, a wrong owner or mode, no key
/// inside). The message says what to do about it.
pub fn load_or_create(dir: &Path) -> Result<KeyPair, StoreError> {
    let directory = Directory::open_or_create(dir)?;
    // A key that is just being made has two names for a moment, and may keep both if its maker died. Under the lock that
    // is cleared up, so only a refusal there counts.
    if let Ok(Some(key)) = read(&directory) {
        return Ok(key);
    }
    let lock = directory.lock()?;
    if let Some(key) = read(&directory)? {
        return Ok(key);
    }
    let key = KeyPair::generate().map_err(StoreError::Generate)?;
    lock.create(KEY_FILE, key.pkcs8())?;
    // What lies there now is the key, whoever made it.
    read(&directory).map(|found| found.unwrap_or(key))
}

fn read(directory: &Directory) -> Result<Option<KeyPair>, StoreError> {
    let Some(content) = directory.read(KEY_FILE, Privacy::Secret)? else {
        return Ok(None);
    };
    let key = KeyPair::from_pkcs8(&content);
    key.map(Some).map_err(|source| StoreError::Key {
        path: directory.join(KEY_FILE),
        source,
    })
}

#[cfg(test)]
mod tests;
