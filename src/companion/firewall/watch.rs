//! Looks at Windows Firewall at start and slowly again, on the side: it may take its time, and may hang.

use std::path::{Path, PathBuf};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::system::POLL;
use super::{Look, Store, StoreError};
use crate::host::FileWatch;

/// The latest look. Dropping it ends the looking.
#[derive(Debug)]
pub struct FirewallWatch {
    look: watch::Receiver<Option<Result<Look, StoreError>>>,
    image: PathBuf,
    task: JoinHandle<()>,
}

/// Starts to look. The directory is where the Linux side has its file.
///
/// # Panics
/// Outside a tokio runtime with time enabled.
pub fn watch_firewall(state_dir: &Path) -> FirewallWatch {
    let image = std::env::current_exe().unwrap_or_default();
    let (sender, look) = watch::channel(None);
    let files = FileWatch::new(&[state_dir]);
    let task = tokio::spawn(follow(sender, Store::new(state_dir), image.clone(), files));
    FirewallWatch { look, image, task }
}

impl FirewallWatch {
    /// Returns when something else was seen than at the last call. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.look.changed().await.is_err() {
            // The task never ends by itself.
            std::future::pending().await
        }
    }

    /// What was seen last; `None` before the first look is over. Not to be held across an await.
    pub fn look(&self) -> watch::Ref<'_, Option<Result<Look, StoreError>>> {
        self.look.borrow()
    }

    /// This program's file.
    pub fn image(&self) -> &Path {
        &self.image
    }
}

impl Drop for FirewallWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    sender: watch::Sender<Option<Result<Look, StoreError>>>,
    store: Store,
    image: PathBuf,
    mut files: FileWatch,
) {
    loop {
        let (store, image) = (store.clone(), image.clone());
        let looked = tokio::task::spawn_blocking(move || store.look(&image)).await;
        let look = looked.unwrap_or_else(|error| Err(StoreError::Other(error.to_string())));
        sender.send_if_modified(|last| {
            let is_new = last.as_ref() != Some(&look);
            *last = Some(look);
            is_new
        });
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = files.changed() => {}
        }
    }
}
