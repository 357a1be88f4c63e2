//! Which category each network of this machine has: asked for on the side, because Windows may take its time, and kept.
//!
//! Windows finds out what network an interface is in after the interface has got its addresses, so it is asked again and again for
//! a while after each hint, and slowly otherwise: a user may change the category at any time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{Category, FileWatch, Interface, platform};

/// How often the question is repeated after a hint.
const EAGER: Duration = Duration::from_secs(1);

/// What is known of the networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// By [`Interface::adapter`].
    categories: BTreeMap<String, Category>,
    /// Why the last question had no answer.
    pub error: Option<String>,
}

impl Networks {
    /// Writes down for each interface the category of its network.
    pub fn apply(&self, interfaces: &mut [Interface]) {
        for interface in interfaces {
            interface.category = self.categories.get(&interface.adapter).copied();
        }
    }
}

/// Follows the categories. Dropping it ends that.
#[derive(Debug)]
pub struct NetworkWatch {
    networks: watch::Receiver<Option<Networks>>,
    hints: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Starts to follow them. The directory is where the Linux side has its file.
///
/// # Panics
/// Outside a tokio runtime with time enabled.
pub fn watch_networks(state_dir: &Path) -> NetworkWatch {
    let (sender, networks) = watch::channel(None);
    let hints = Arc::new(Notify::new());
    let task = tokio::spawn(follow(sender, hints.clone(), state_dir.to_owned()));
    NetworkWatch {
        networks,
        hints,
        task,
    }
}

impl NetworkWatch {
    /// Returns when something else is known than at the last call. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.networks.changed().await.is_err() {
            // The task never ends by itself.
            std::future::pending().await
        }
    }

    /// Waits for the first answer, or for so long.
    pub async fn first(&mut self, patience: Duration) {
        // Without an answer the networks are unknown, and that is what is then known of them.
        drop(timeout(patience, self.networks.wait_for(Option::is_some)).await);
    }

    /// What is known now.
    pub fn networks(&self) -> Networks {
        self.networks.borrow().clone().unwrap_or_default()
    }

    /// Has Windows asked again soon: an interface or an address has changed.
    pub fn hint(&self) {
        self.hints.notify_one();
    }
}

impl Drop for NetworkWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(sender: watch::Sender<Option<Networks>>, hints: Arc<Notify>, state_dir: PathBuf) {
    let mut files = FileWatch::new(&[&state_dir]);
    let mut eager_until = Instant::now() + platform::CATEGORY_DELAY;
    loop {
        let state_dir = state_dir.clone();
        let asked = tokio::task::spawn_blocking(move || platform::categories(&state_dir)).await;
        let answer = asked.unwrap_or_else(|error| Err(error.to_string()));
        let known = sender.borrow().clone().unwrap_or_default();
        let networks = match answer {
            Ok(categories) => Networks {
                categories,
                error: None,
            },
            // What was known is the best guess: networks seldom change, and the service comes back.
            Err(error) => {
                if known.error.as_ref() != Some(&error) {
                    tracing::warn!(error, "Windows does not say which kinds of networks it is in");
                }
                Networks {
                    error: Some(error),
                    ..known
                }
            }
        };
        sender.send_if_modified(|last| {
            let is_new = last.as_ref() != Some(&networks);
            *last = Some(networks);
            is_new
        });
        let pause = if Instant::now() < eager_until {
            EAGER.min(platform::CATEGORY_POLL)
        } else {
            platform::CATEGORY_POLL
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = hints.notified() => eager_until = Instant::now() + platform::CATEGORY_DELAY,
            () = files.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use crate::host;

    #[tokio::test]
    async fn every_network_that_is_known_has_a_category() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = watch_networks(folder.path());

        watch.first(Duration::from_secs(30)).await;

        let networks = watch.networks();
        assert_eq!(networks.error, None);
        let mut interfaces = host::interfaces().unwrap();
        assert!(interfaces.iter().all(|interface| interface.category.is_none()));
        networks.apply(&mut interfaces);
        let known = interfaces
            .iter()
            .filter_map(|interface| interface.category)
            .count();
        assert!(known > 0, "{interfaces:?} {networks:?}");
    }
}
