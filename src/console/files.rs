//! Hints that a file may have changed that people, or the programs' own commands, write while a program runs: its configuration, the
//! keys that it trusts.
//!
//! A hint carries nothing: whoever waits looks at the files. Where the system gives none, looks have to come often.

#[cfg(target_os = "linux")]
mod inotify;
#[cfg(not(target_os = "linux"))]
mod nowhere;

use std::path::Path;
use std::time::Duration;

#[cfg(target_os = "linux")]
use inotify as platform;
#[cfg(not(target_os = "linux"))]
use nowhere as platform;

/// How often to look where there are no hints.
const WITHOUT_HINTS: Duration = Duration::from_secs(1);
/// And where there are: a file system may tell of nothing (a network's, a drive of Windows).
const WITH_HINTS: Duration = Duration::from_secs(30);

/// A source of hints.
#[derive(Debug)]
pub struct FileWatch(Option<platform::FileHints>);

impl FileWatch {
    /// Watches all files of these folders.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn new(folders: &[&Path]) -> Self {
        Self(
            platform::FileHints::new(folders)
                .inspect_err(|error| tracing::debug!(%error, "no hints of changed files: they are looked at each second"))
                .ok(),
        )
    }

    /// The longest time between two looks.
    pub fn pause(&self) -> Duration {
        match self.0 {
            Some(_) => WITH_HINTS,
            None => WITHOUT_HINTS,
        }
    }

    /// Returns when something may have changed since the watch began, or since it returned last. Cancel-safe.
    pub async fn changed(&mut self) {
        match &mut self.0 {
            Some(hints) => hints.next().await,
            None => std::future::pending().await,
        }
    }

    /// Returns when it is time to look: after a hint, or the longest time between two looks. Cancel-safe.
    pub async fn next_look(&mut self) {
        let pause = self.pause();
        tokio::select! {
            () = self.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_change_is_hinted_at_or_the_looks_are_frequent() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        let mut watch = FileWatch::new(&[place.path()]);

        for content in ["one", "two"] {
            std::fs::write(&file, content).unwrap();
            let hinted = timeout(SOON.min(watch.pause() * 2), watch.changed()).await;
            assert!(hinted.is_ok() || watch.pause() <= WITHOUT_HINTS);
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_leaves_frequent_looks() {
        let place = tempfile::tempdir().unwrap();

        let watch = FileWatch::new(&[&place.path().join("missing")]);

        assert_eq!(watch.pause(), WITHOUT_HINTS);
    }
}
