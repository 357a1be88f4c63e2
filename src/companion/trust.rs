//! Which keys are trusted, under which names: the companion's live view of `trusted.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use wslnet_link::{Peers, Pins, PublicKey, Stamp, StoreError};

/// The trusted keys, shared by the TLS verifier and the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trust {
    directory: PathBuf,
    seen: Arc<RwLock<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    stamp: Option<Stamp>,
    names: BTreeMap<PublicKey, String>,
}

impl Trust {
    /// Reads the trusted keys of a state directory.
    ///
    /// # Errors
    /// If the file is there but cannot be read or understood.
    pub fn load(directory: &Path) -> Result<Self, StoreError> {
        let trust = Self {
            directory: directory.to_owned(),
            seen: Arc::default(),
        };
        trust.refresh()?;
        Ok(trust)
    }

    /// Reads the file again if it changed, and names the distros that are no longer trusted under the key they had.
    ///
    /// # Errors
    /// If the file is there but cannot be read or understood; what was trusted before stays trusted.
    pub fn refresh(&self) -> Result<Vec<String>, StoreError> {
        let stamp = wslnet_link::stamp(&self.directory).ok();
        if stamp.is_some() && self.read().stamp == stamp {
            return Ok(Vec::new());
        }
        let peers = Peers::load(&self.directory)?;
        let names = peers
            .iter()
            .map(|(name, key)| (*key, name.to_owned()))
            .collect::<BTreeMap<_, _>>();
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        let gone = seen
            .names
            .iter()
            .filter(|(key, name)| names.get(key) != Some(name));
        let gone = gone.map(|(_, name)| name.clone()).collect();
        *seen = Seen { stamp, names };
        Ok(gone)
    }

    /// The name under which a key is trusted.
    pub fn distro_of(&self, key: &PublicKey) -> Option<String> {
        self.read().names.get(key).cloned()
    }

    /// Whether a key is trusted under this name.
    pub fn knows(&self, distro: &str) -> bool {
        self.read().names.values().any(|name| name == distro)
    }

    /// How many keys are trusted.
    pub fn count(&self) -> usize {
        self.read().names.len()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Seen> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pins for Trust {
    fn contains(&self, key: &PublicKey) -> bool {
        self.read().names.contains_key(key)
    }
}
