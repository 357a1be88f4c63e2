//! `companion.toml` while the program runs: looked at again and again, taken over when it changed and is sound.

use std::path::Path;

use wslnet_console::diagnose::{ConfigFile, Report, Source};

use super::Config;

/// The configuration file and what was last read from it.
#[derive(Debug)]
pub struct WatchedConfig {
    file: ConfigFile,
    last: Option<Result<Source, String>>,
    /// A change that was seen once. Editors and copies empty a file before they fill it, and an empty one means the
    /// defaults, which allow everything; so a change counts when it is seen twice.
    seen: Option<Result<Source, String>>,
}

impl WatchedConfig {
    /// Watches a file that was not read yet.
    pub fn new(file: ConfigFile) -> Self {
        Self {
            file,
            last: None,
            seen: None,
        }
    }

    /// Reads the configuration for the first time.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&mut self) -> Result<Config, Report> {
        let source = self.file.read()?;
        self.last = Some(Ok(source.clone()));
        Config::parse(source)
    }

    /// The configuration if the file is another one than at the last look, or the rendered report of what is wrong
    /// with it.
    pub fn changed(&mut self) -> Option<Result<Config, String>> {
        let read = self.file.read().map_err(|report| report.render(false));
        if self.last.as_ref() == Some(&read) {
            self.seen = None;
            return None;
        }
        if self.seen.as_ref() != Some(&read) {
            self.seen = Some(read);
            return None;
        }
        self.seen = None;
        self.last = Some(read.clone());
        Some(read.and_then(|source| Config::parse(source).map_err(|report| report.render(false))))
    }

    /// Whether a change was seen once, so that the file has to be looked at again soon.
    pub fn is_unsettled(&self) -> bool {
        self.seen.is_some()
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use wslnet_protocol::Reach;

    #[test]
    fn a_change_is_told_once_and_a_bad_one_with_its_report() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("companion.toml");
        let mut watched = WatchedConfig::new(ConfigFile::new(path.clone(), false));
        assert_eq!(watched.load().unwrap(), Config::default());
        assert!(watched.changed().is_none());

        std::fs::write(&path, "reach = \"host\"").unwrap();
        assert!(watched.changed().is_none(), "seen once, which may be half a file");
        assert!(watched.is_unsettled());
        assert_eq!(watched.changed().unwrap().unwrap().policy.reach, Reach::Host);
        assert!(!watched.is_unsettled());
        assert!(watched.changed().is_none());

        std::fs::write(&path, "reech = \"host\"").unwrap();
        assert!(watched.changed().is_none());
        assert!(watched.changed().unwrap().unwrap_err().contains("reech"));
        assert!(watched.changed().is_none());
    }
}
