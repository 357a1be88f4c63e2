//! Notices that the companion of a session is no longer the trusted one: `wslnetd trust` runs beside the daemon.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;
use wslnet_console::files::FileWatch;
use wslnet_link::{Peers, PublicKey, stamp};

use super::COMPANION;

/// When to look again where that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Tells when the trusted keys may have changed. What changes from now on is told, so look after this.
pub(super) fn watch(state_dir: &Path) -> FileWatch {
    FileWatch::new(&[state_dir])
}

/// Returns when the key is not, or no longer, the trusted one. A list that cannot be used trusts nobody.
pub(super) async fn lost(state_dir: &Path, pin: PublicKey) {
    let mut files = watch(state_dir);
    // Nothing seen yet: the list may have changed between the reading of the key and now.
    let mut seen = None;
    loop {
        match stamp(state_dir) {
            Ok(now) => {
                if seen.as_ref() != Some(&now) {
                    let trusted = Peers::load(state_dir).map(|peers| peers.get(COMPANION));
                    if !matches!(trusted, Ok(Some(key)) if key == pin) {
                        return;
                    }
                    seen = Some(now);
                }
                files.next_look().await;
            }
            // Says nothing about the list; file descriptors may have run out.
            Err(error) => {
                tracing::debug!(%error, "the trusted keys cannot be looked at");
                sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;
    use std::future::Future;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;
    use tokio::time::timeout;
    use wslnet_link::{KeyPair, trust, untrust};

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn another_key_is_noticed_and_the_same_is_not() {
        let (place, key) = trusting();
        let lost = lost(place.path(), key);
        tokio::pin!(lost);

        trust(place.path(), COMPANION, key).unwrap();
        trust(place.path(), "another", new_key()).unwrap();
        let early = timeout(RETRY * 2, &mut lost).await;
        assert!(early.is_err(), "the key is still the same");

        trust(place.path(), COMPANION, new_key()).unwrap();
        timeout(SOON, lost).await.unwrap();
    }

    #[tokio::test]
    async fn a_withdrawn_key_is_noticed() {
        let (place, key) = trusting();

        untrust(place.path(), COMPANION).unwrap();

        timeout(SOON, lost(place.path(), key)).await.unwrap();
    }

    #[tokio::test]
    async fn a_list_that_must_not_be_used_trusts_nobody() {
        let (place, key) = trusting();

        for file in fs::read_dir(place.path()).unwrap() {
            fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o666)).unwrap();
        }

        timeout(SOON, lost(place.path(), key)).await.unwrap();
    }

    #[tokio::test]
    async fn while_nothing_changes_nothing_wakes_up() {
        let (place, key) = trusting();
        let mut wakes = 0;
        let lost = lost(place.path(), key);
        tokio::pin!(lost);
        let counting = std::future::poll_fn(|context| {
            wakes += 1;
            lost.as_mut().poll(context)
        });

        let early = timeout(RETRY * 3, counting).await;

        assert!(early.is_err(), "the key is still the same");
        // At the start and at the end.
        assert!(wakes <= 2, "{wakes} in three seconds");
    }

    fn trusting() -> (TempDir, PublicKey) {
        let (place, key) = (TempDir::new().unwrap(), new_key());
        trust(place.path(), COMPANION, key).unwrap();
        (place, key)
    }

    fn new_key() -> PublicKey {
        KeyPair::generate().unwrap().public()
    }
}
