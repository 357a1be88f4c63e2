//! A file of the state directory that stands for Windows Firewall, so that rules, findings and the engine can be developed and
//! tested on Linux:
//!
//! ```toml
//! answers = true           # false: as if its service hung
//! service = "running"      # or "stopped", "disabled", "missing"
//! writable = true          # false: as for somebody who is no administrator
//! enabled = ["private"]    # the profiles in which it does anything; none if the key is missing
//! blocks-all = []          # those that let nothing in
//! no-merge = []            # those in which group policy makes local rules void
//!
//! [[rule]]                 # the properties of a rule
//! name = "wslnet relay (TCP)"
//! ```
//!
//! Its limits: it lets everything through; every text is taken as it is and given back as it was; it refuses two rules of one name
//! where Windows would keep both; and nobody but this program and the tests writes it.

mod hyperv;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wslnet_link::{read_state_file, replace_state_file};

use crate::firewall::look::{self, Look, Origin, Policy, Profile};
use crate::firewall::{GROUP, Properties, Rule, StoreError};
use crate::host::{Category, Service};

pub use self::hyperv::HyperV;

/// How often the file is looked at while nothing hints at a change.
pub const POLL: Duration = Duration::from_secs(60);
/// The file in the state directory.
const FILE: &str = "firewall-rules.toml";
/// The longest file that is read, in bytes.
const LIMIT: usize = 16 << 20;

/// Windows Firewall as the file describes it.
#[derive(Clone, Debug)]
pub struct Store {
    state_dir: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    #[default]
    Running,
    Stopped,
    Disabled,
    Missing,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    answers: bool,
    service: State,
    writable: bool,
    enabled: Vec<Category>,
    blocks_all: Vec<Category>,
    no_merge: Vec<Category>,
    rule: Vec<Properties>,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            answers: true,
            service: State::Running,
            writable: true,
            enabled: Vec::new(),
            blocks_all: Vec::new(),
            no_merge: Vec::new(),
            rule: Vec::new(),
        }
    }
}

impl Store {
    /// The one whose file is in this directory. No file: no rules, and everything works.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
        }
    }

    /// The rules of our group.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn ours(&self) -> Result<Vec<Properties>, StoreError> {
        let mut rules = self.serving()?.rule;
        rules.retain(|rule| rule.grouping == GROUP);
        Ok(rules)
    }

    /// Makes rules, in their order, as far as it gets.
    ///
    /// # Errors
    /// When one could not be made.
    pub fn add(&self, rules: &[Rule]) -> Result<(), StoreError> {
        let mut document = self.writable()?;
        for rule in rules {
            if document.rule.iter().any(|there| there.name == rule.name) {
                return Err(StoreError::Foreign(rule.name.clone()));
            }
            document.rule.push(rule.properties());
            self.write(&document)?;
        }
        Ok(())
    }

    /// Removes rules of our group by their names; those that are not there are no matter.
    ///
    /// # Errors
    /// When one could not be removed, or somebody else's has the name.
    pub fn remove(&self, names: &[String]) -> Result<(), StoreError> {
        let mut document = self.writable()?;
        for name in names {
            let named = document.rule.iter().filter(|rule| rule.name == *name);
            if named.clone().any(|rule| rule.grouping != GROUP) {
                return Err(StoreError::Foreign(name.clone()));
            }
            document.rule.retain(|rule| rule.name != *name);
            self.write(&document)?;
        }
        Ok(())
    }

    /// Looks at everything. `image` is this program's file.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn look(&self, image: &Path) -> Result<Look, StoreError> {
        let document = self.read()?;
        let profile = |category| Profile {
            category,
            enabled: document.enabled.contains(&category),
            blocks_all: document.blocks_all.contains(&category),
        };
        let policy = |category: &Category| Policy {
            origin: Origin::GroupPolicy,
            key: "the stand-in's file".to_owned(),
            value: "AllowLocalPolicyMerge",
            category: Some(*category),
        };
        let rules = |is: &dyn Fn(&&Properties) -> bool| document.rule.iter().filter(is).cloned().collect();
        Ok(Look {
            service: match document.service {
                State::Running => Service::Running(None),
                State::Stopped => Service::Stopped,
                State::Disabled => Service::Disabled,
                State::Missing => Service::Missing,
            },
            profiles: Category::ALL.map(profile).into(),
            policies: document.no_merge.iter().map(policy).collect(),
            void: None,
            ours: rules(&|rule| rule.grouping == GROUP),
            image: rules(&|rule| look::names(&rule.application, image)),
        })
    }

    fn read(&self) -> Result<Document, StoreError> {
        let failed = |error: &dyn std::error::Error| StoreError::Other(error.to_string());
        let content = read_state_file(&self.state_dir, FILE, LIMIT).map_err(|error| failed(&error))?;
        let document: Document = match content {
            Some(content) => toml::from_slice(&content).map_err(|error| failed(&error))?,
            None => Document::default(),
        };
        if document.answers {
            Ok(document)
        } else {
            Err(StoreError::NoAnswer)
        }
    }

    fn serving(&self) -> Result<Document, StoreError> {
        let document = self.read()?;
        match document.service {
            State::Running => Ok(document),
            State::Stopped | State::Disabled | State::Missing => Err(StoreError::Stopped),
        }
    }

    fn writable(&self) -> Result<Document, StoreError> {
        let document = self.serving()?;
        if document.writable {
            Ok(document)
        } else {
            Err(StoreError::Denied)
        }
    }

    fn write(&self, document: &Document) -> Result<(), StoreError> {
        let failed = |error: &dyn std::error::Error| StoreError::Other(error.to_string());
        let text = toml::to_string(document).map_err(|error| failed(&error))?;
        replace_state_file(&self.state_dir, FILE, text.as_bytes()).map_err(|error| failed(&error))
    }
}
