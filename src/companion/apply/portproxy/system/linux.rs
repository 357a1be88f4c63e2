//! A file of the state directory that stands for the registry and for IP Helper, so that plan, journal and engine can be
//! developed and tested on Linux:
//!
//! ```toml
//! service = "running"     # or "stopped", "disabled", "missing"
//! writable = true         # false: as for somebody who is no administrator
//! answers = true          # false: as while Windows waits for the service and answers nobody in time
//! reloads = 3             # how often the service was told to read its entries again
//!
//! [v4tov4]
//! "192.168.1.20/8000" = "172.20.0.2/8000"
//! ```
//!
//! Its limits: nobody listens and nothing is carried, an entry counts as served as soon as the service runs; it is one file
//! and not a key for each table; every text is a string; and unlike the registry it is not shared with anybody else.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use wslnet_link::{read_state_file, replace_state_file};

use super::super::entry::Entry;
use super::{Removed, Service};
use crate::host::PortHolder;
use crate::host::portproxy::{Found, Table};

/// The file in the state directory.
const FILE: &str = "portproxy-registry.toml";
/// The longest file that is read, in bytes.
const LIMIT: usize = 16 << 20;

/// The machine as the file describes it.
#[derive(Debug)]
pub struct Machine {
    state_dir: PathBuf,
}

/// Length and time of the file's last change.
pub type Stamp = Option<(u64, SystemTime)>;

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
#[serde(default, deny_unknown_fields)]
struct Document {
    service: State,
    writable: bool,
    answers: bool,
    reloads: u64,
    v4tov4: BTreeMap<String, String>,
    v4tov6: BTreeMap<String, String>,
    v6tov4: BTreeMap<String, String>,
    v6tov6: BTreeMap<String, String>,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            service: State::Running,
            writable: true,
            answers: true,
            reloads: 0,
            v4tov4: BTreeMap::new(),
            v4tov6: BTreeMap::new(),
            v6tov4: BTreeMap::new(),
            v6tov6: BTreeMap::new(),
        }
    }
}

impl Document {
    fn table(&self, table: Table) -> &BTreeMap<String, String> {
        match table {
            Table::V4ToV4 => &self.v4tov4,
            Table::V4ToV6 => &self.v4tov6,
            Table::V6ToV4 => &self.v6tov4,
            Table::V6ToV6 => &self.v6tov6,
        }
    }

    fn table_mut(&mut self, table: Table) -> &mut BTreeMap<String, String> {
        match table {
            Table::V4ToV4 => &mut self.v4tov4,
            Table::V4ToV6 => &mut self.v4tov6,
            Table::V6ToV4 => &mut self.v6tov4,
            Table::V6ToV6 => &mut self.v6tov6,
        }
    }
}

impl Machine {
    /// The one whose file is in this directory. No file: no entries, and everything works.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
        }
    }

    /// Changes when the entries do.
    pub fn stamp(&self) -> Stamp {
        let metadata = std::fs::metadata(self.state_dir.join(FILE)).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    }

    /// All entries.
    pub fn entries(&self) -> io::Result<Vec<Found>> {
        let document = self.read()?;
        let found = Table::ALL.into_iter().flat_map(|table| {
            document.table(table).iter().map(move |(name, content)| Found {
                table,
                name: name.clone(),
                content: Some(content.clone()),
            })
        });
        Ok(found.collect())
    }

    /// Makes an entry; `AlreadyExists` if there is one at its place.
    pub fn add(&self, entry: &Entry) -> io::Result<()> {
        let mut document = self.writable()?;
        let table = document.table_mut(entry.table);
        if table.contains_key(&entry.name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        table.insert(entry.name.clone(), entry.content.clone());
        self.write(&document)
    }

    /// Removes an entry, if it is still what it was when it was made.
    pub fn remove(&self, entry: &Entry) -> io::Result<Removed> {
        let mut document = self.writable()?;
        let table = document.table_mut(entry.table);
        match table.get(&entry.name) {
            None => return Ok(Removed::Absent),
            Some(content) if *content != entry.content => return Ok(Removed::Foreign),
            Some(_) => drop(table.remove(&entry.name)),
        }
        self.write(&document).map(|()| Removed::Gone)
    }

    /// What was changed is on the disk. Here it always is.
    #[expect(clippy::unnecessary_wraps, reason = "the registry can fail at it")]
    pub fn flush(&self, _table: Table) -> io::Result<()> {
        Ok(())
    }

    /// Whether this program has the rights: `PermissionDenied` if not.
    pub fn may_write(&self) -> io::Result<()> {
        self.writable().map(drop)
    }

    /// The service's state.
    pub fn service(&self) -> io::Result<Service> {
        Ok(match self.answering()?.service {
            State::Running => Service::Running(None),
            State::Stopped => Service::Stopped,
            State::Disabled => Service::Disabled,
            State::Missing => Service::Missing,
        })
    }

    /// Has the service read its entries again.
    pub fn reload(&self) -> io::Result<()> {
        let mut document = self.answering()?;
        document.reloads += 1;
        self.write(&document)
    }

    /// Whether the service listens for an entry of ours, by the table of listeners.
    pub fn is_served(&self, _listen: SocketAddr, _listeners: &[PortHolder]) -> bool {
        true
    }

    /// Whether IPv6 is turned off as a whole, which is said to stop portproxy.
    pub fn is_ipv6_off(&self) -> bool {
        false
    }

    fn read(&self) -> io::Result<Document> {
        let content = read_state_file(&self.state_dir, FILE, LIMIT).map_err(io::Error::other)?;
        match content {
            Some(content) => toml::from_slice(&content).map_err(io::Error::other),
            None => Ok(Document::default()),
        }
    }

    fn answering(&self) -> io::Result<Document> {
        let document = self.read()?;
        if document.answers {
            Ok(document)
        } else {
            Err(io::ErrorKind::TimedOut.into())
        }
    }

    fn writable(&self) -> io::Result<Document> {
        let document = self.read()?;
        if document.writable {
            Ok(document)
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }

    fn write(&self, document: &Document) -> io::Result<()> {
        let text = toml::to_string(document).map_err(io::Error::other)?;
        replace_state_file(&self.state_dir, FILE, text.as_bytes()).map_err(io::Error::other)
    }
}
