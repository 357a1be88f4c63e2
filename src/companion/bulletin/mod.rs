//! What the service tells every user of this Windows: its public key, whose keys it trusts, and what it is doing. Its state folder
//! and its control endpoint are for administrators; this is the part of them that is no secret, so that an ordinary window can
//! look without an administrator's rights.
//!
//! It is a pipe that can be read and not written to: whoever opens it gets the text, and the service takes nothing in.

#[cfg(not(windows))]
mod elsewhere;
#[cfg(windows)]
mod windows;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wslnet_console::control::Answer;
use wslnet_link::{Peers, PublicKey};

#[cfg(not(windows))]
use elsewhere as platform;
#[cfg(windows)]
use windows as platform;

use crate::engine::{ForwardReport, StatusReport};

pub(crate) use platform::{Board, read};

/// One issue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bulletin {
    /// The companion's key.
    pub key: PublicKey,
    /// The trusted keys, by name.
    pub trusted: BTreeMap<String, PublicKey>,
    /// What `status` shows, or why it cannot.
    pub status: Answer<StatusReport>,
    /// What `list` shows, or why it cannot.
    pub list: Answer<Vec<ForwardReport>>,
}

impl Bulletin {
    /// Leaves out what is not for everybody: the labels, which name programs and containers of somebody's distro, and the text of a
    /// configuration that only administrators may read.
    pub(crate) fn new(
        key: PublicKey,
        trusted: &Peers,
        report: Result<(StatusReport, Vec<ForwardReport>), String>,
    ) -> Self {
        let (status, list) = match report {
            Ok((mut status, mut list)) => {
                if let Some(error) = &mut status.config_error {
                    "an administrator's `wslnet-companion status` says why".clone_into(error);
                }
                for forward in &mut list {
                    forward.labels.clear();
                }
                (Answer::Done(status), Answer::Done(list))
            }
            Err(reason) => (Answer::Failed(reason.clone()), Answer::Failed(reason)),
        };
        Self {
            key,
            trusted: trusted.iter().map(|(name, key)| (name.clone(), *key)).collect(),
            status,
            list,
        }
    }
}

/// Why the service's word cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// There is nobody to ask.
    #[error(
        "the service wslnet-companion does not run: start it by `net start wslnet-companion` in an administrator's window"
    )]
    NotRunning,
    /// It does not answer, or another program does in its place.
    #[error("the service wslnet-companion does not tell anything")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The same as [`read()`], for those who have no runtime.
///
/// # Errors
/// See [`ReadError`].
pub(crate) fn read_now() -> Result<Bulletin, ReadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(|error| ReadError::Failed(error.into()))?
        .block_on(read())
}

#[cfg(test)]
pub(crate) mod tests;
