//! What this process may do on this machine: asked of the system, once, when it starts. In which form it runs is no answer: an
//! administrator may start it by hand, and a service may be given another account.

#[cfg(not(windows))]
mod elsewhere;
#[cfg(windows)]
mod windows;

use std::path::Path;

use serde::{Deserialize, Serialize};
use wslnet_hosts::HostsFile;

#[cfg(not(windows))]
use elsewhere as platform;
#[cfg(windows)]
use windows as platform;

use crate::apply::portproxy;
use crate::paths::Paths;

#[cfg(windows)]
pub(crate) use windows::is_administrator;

/// One thing that the program can do or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// What it is, for people.
    pub what: String,
    /// Why it cannot; `None` if it can.
    pub missing: Option<String>,
}

/// Everything that takes rights.
pub(crate) fn all(paths: &Paths) -> Vec<Capability> {
    let capability = |what: &str, can: Result<(), String>| Capability {
        what: what.to_owned(),
        missing: can.err(),
    };
    vec![
        capability("open ports", platform::ports()),
        capability("keep names", names(paths.hosts.as_deref())),
        capability("use portproxy", portproxy::may_be_used(&paths.state_dir)),
        capability("make firewall rules", platform::firewall_rules()),
    ]
}

fn names(hosts: Option<&Path>) -> Result<(), String> {
    let file = hosts.ok_or("no hosts file is kept on this system")?;
    HostsFile::new(file.to_owned())
        .probe()
        .map_err(|error| error.to_string())
}
