//! A file in the state directory that says that there may be rules of one kind: made before the first of them, so that the next start
//! after a crash asks Windows only where there is something to look for. Or that something else is still to be done.

use std::io;
use std::path::{Path, PathBuf};

use wslnet_link::{StoreError, read_state_file, replace_state_file};

/// Such a file.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    state_dir: PathBuf,
    name: &'static str,
}

impl Mark {
    /// The file of this name.
    pub(crate) fn new(state_dir: &Path, name: &'static str) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            name,
        }
    }

    /// Whether it is there. One that cannot be read is.
    pub(crate) fn is_set(&self) -> bool {
        !matches!(read_state_file(&self.state_dir, self.name, 1), Ok(None))
    }

    /// Makes it, if it is not there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn set(&self) -> Result<(), StoreError> {
        if self.is_set() {
            return Ok(());
        }
        replace_state_file(&self.state_dir, self.name, b"")
    }

    /// Removes it, once there are no rules any more, or it is done.
    pub(crate) fn clear(&self) {
        match std::fs::remove_file(self.state_dir.join(self.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, mark = self.name, "a mark is left: the next start looks in vain for what it stands for");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn it_comes_and_goes_and_what_cannot_be_read_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let mark = Mark::new(folder.path(), "mark");
        assert!(!mark.is_set());

        mark.set().unwrap();
        mark.set().unwrap();
        assert!(mark.is_set());
        mark.clear();
        mark.clear();
        assert!(!mark.is_set());

        std::fs::create_dir(folder.path().join("mark")).unwrap();
        assert!(mark.is_set());
    }
}
