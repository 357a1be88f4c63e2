//! A configuration file over the life of a program: it may be missing at first, it must not vanish later.

use std::path::{Path, PathBuf};

use super::{Report, Source, read_file};

/// Where the configuration is, and whether it has to be there.
///
/// At its standard place it may be missing: then the defaults hold. Where somebody named the place it must be there,
/// because a mistyped name would silently mean the defaults. And once it was there it must stay: somebody who
/// deletes the file by mistake must not find everything exposed at the next reload.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    must_exist: bool,
}

impl ConfigFile {
    /// The file at `path`; `named` says whether a person named it.
    #[must_use]
    pub fn new(path: PathBuf, named: bool) -> Self {
        Self {
            path,
            must_exist: named,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file; a missing one that may be missing reads as empty.
    ///
    /// # Errors
    /// Those of [`read_file`], and a file that must be there and is not.
    pub fn read(&mut self) -> Result<Source, Report> {
        let name = || self.path.display().to_string();
        match read_file(&self.path)? {
            Some(source) => {
                self.must_exist = true;
                Ok(source)
            }
            None if self.must_exist => Err(Report::of_file(
                name(),
                "the file does not exist",
                Some("create it (an empty file means the defaults), or correct its name".to_owned()),
            )),
            None => Ok(Source {
                name: name(),
                text: String::new(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_missing_file_means_the_defaults_only_at_its_standard_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");

        assert_eq!(ConfigFile::new(path.clone(), false).read().unwrap().text, "");
        assert!(
            ConfigFile::new(path, true)
                .read()
                .unwrap_err()
                .summary()
                .contains("does not exist")
        );
    }

    #[test]
    fn a_file_that_was_there_must_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, "a = 1").unwrap();
        let mut file = ConfigFile::new(path.clone(), false);
        assert_eq!(file.read().unwrap().text, "a = 1");

        std::fs::remove_file(&path).unwrap();

        assert!(file.read().is_err());
    }
}
