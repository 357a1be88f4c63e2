//! A file of the state directory that stands for the Hyper-V firewall, with a rule in each line:
//!
//! ```toml
//! there = true             # false: a Windows without one
//! writable = true          # false: as for somebody who is no administrator
//! rules = ["wslnet-tcp-8000-0123456789abcdef"]
//! ```
//!
//! It lets everything through, as its neighbour does; the end-to-end tests make rules of the kernel's packet filter from it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wslnet_link::{read_state_file, replace_state_file};

use crate::firewall::{FoundHyperVRule, HyperVRule, StoreError, is_our_hyperv_rule};

/// The file in the state directory.
const FILE: &str = "hyperv-rules.toml";
/// The longest file that is read, in bytes.
const LIMIT: usize = 1 << 20;

/// The Hyper-V firewall as the file describes it.
#[derive(Clone, Debug)]
pub struct HyperV {
    state_dir: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    there: bool,
    writable: bool,
    rules: Vec<String>,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            there: true,
            writable: true,
            rules: Vec::new(),
        }
    }
}

impl HyperV {
    /// The one whose file is in this directory. No file: no rules, and everything works.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
        }
    }

    /// Our rules; `None` where Windows has no such firewall.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn ours(&self) -> Result<Option<Vec<FoundHyperVRule>>, StoreError> {
        let document = self.read()?;
        let names = document.rules.into_iter();
        let found = |name| FoundHyperVRule {
            name,
            is_in_force: true,
        };
        let ours = names.filter(|name| is_our_hyperv_rule(name)).map(found);
        Ok(document.there.then(|| ours.collect()))
    }

    /// Makes rules, in their order, as far as it gets.
    ///
    /// # Errors
    /// When one could not be made.
    pub fn add(&self, rules: &[HyperVRule]) -> Result<(), StoreError> {
        self.change(|document| document.rules.extend(rules.iter().map(HyperVRule::name)))
    }

    /// Removes rules by their names; those that are not there are no matter.
    ///
    /// # Errors
    /// When one could not be removed.
    pub fn remove(&self, names: &[String]) -> Result<(), StoreError> {
        self.change(|document| document.rules.retain(|name| !names.contains(name)))
    }

    fn read(&self) -> Result<Document, StoreError> {
        let failed = |error: &dyn std::error::Error| StoreError::Other(error.to_string());
        let content = read_state_file(&self.state_dir, FILE, LIMIT).map_err(|error| failed(&error))?;
        content.map_or_else(
            || Ok(Document::default()),
            |content| toml::from_slice(&content).map_err(|error| failed(&error)),
        )
    }

    fn change(&self, change: impl FnOnce(&mut Document)) -> Result<(), StoreError> {
        let failed = |error: &dyn std::error::Error| StoreError::Other(error.to_string());
        let mut document = self.read()?;
        if !document.writable {
            return Err(StoreError::Denied);
        }
        change(&mut document);
        let text = toml::to_string(&document).map_err(|error| failed(&error))?;
        replace_state_file(&self.state_dir, FILE, text.as_bytes()).map_err(|error| failed(&error))
    }
}
