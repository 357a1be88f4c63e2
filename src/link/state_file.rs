//! Other files that the programs keep in the state directory, with the same care as the key: read only after the checks,
//! replaced in one step, under the lock. What they mean is their owners' business.

use std::path::Path;

use crate::error::StoreError;
use crate::files::{Directory, Privacy};

/// Reads a file of the state directory; `None` when there is no such file or directory. Anybody may be able to read it, but
/// nobody but its owner to write it.
///
/// # Errors
/// The file or directory cannot be read, is not safe to use, or is longer than `limit` bytes.
pub fn read_state_file(dir: &Path, name: &str, limit: usize) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(directory) = Directory::open(dir)? else {
        return Ok(None);
    };
    let content = directory.read_at_most(name, Privacy::Public, limit)?;
    Ok(content.map(|content| content.to_vec()))
}

/// Puts a file with this content in the place of `name`; it is on the disk when this returns. Whoever reads meanwhile, or
/// after a loss of power, finds the old file or the new one. Makes the directory where it is missing.
///
/// # Errors
/// The directory cannot be used, or the file cannot be written; the old one is untouched then.
pub fn replace_state_file(dir: &Path, name: &str, content: &[u8]) -> Result<(), StoreError> {
    let directory = Directory::open_or_create(dir)?;
    let lock = directory.lock()?;
    lock.replace(name, content)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::error::Refusal;

    #[test]
    fn a_file_is_what_was_last_put_there() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        assert_eq!(read_state_file(&dir, "notes", 10).unwrap(), None);

        replace_state_file(&dir, "notes", b"first").unwrap();
        replace_state_file(&dir, "notes", b"second").unwrap();

        assert_eq!(read_state_file(&dir, "notes", 6).unwrap().unwrap(), b"second");
        assert_eq!(read_state_file(&dir, "others", 10).unwrap(), None);
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        replace_state_file(dir.path(), "notes", b"second").unwrap();

        let refused = read_state_file(dir.path(), "notes", 5).unwrap_err();

        assert!(
            matches!(
                refused,
                StoreError::Refused {
                    reason: Refusal::TooLong { limit: 5 },
                    ..
                }
            ),
            "{refused:?}"
        );
    }
}
