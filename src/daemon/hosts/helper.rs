//! The helper, `wslnetd hosts`: the only part of the program that writes `/etc/hosts`, as root, for whoever may connect to
//! `wslnetd-hosts.socket`, which is the daemon. It reads one set of names, puts it into the block, answers and ends.
//!
//! What a daemon that was taken over can make of it: 64 names below `.wsl`, at any addresses. [`Names`] takes nothing else, and
//! no other line of the file changes.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use wslnet_hosts::{HostsFile, Names, Written};

/// Longest question. The longest set of names has about 8,000 bytes.
const QUESTION_BYTES: u64 = 16 * 1024;

/// Longest answer.
pub(super) const ANSWER_BYTES: u64 = 16 * 1024;

/// How long the other side may take for the next part of its question, and to take the answer.
const PEER_TIME: Duration = Duration::from_secs(5);

/// What became of the names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// They are in the file, but for those that others have.
    Written(Written),
    /// They are not, and why.
    Failed(String),
}

/// Serves whoever is at the other end of standard input, which must be a socket; with `remove` nobody, and takes the block out.
///
/// # Errors
/// When it is none, when what comes from there makes no sense, and when the block cannot be removed.
pub(crate) fn run(remove: bool) -> anyhow::Result<()> {
    let path = wslnet_hosts::system_path()?;
    if remove {
        HostsFile::new(path).put(&Names::default())?;
        return Ok(());
    }
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream
        .peer_addr()
        .context("this is for wslnetd-hosts.socket, which hands over a connection of the daemon")?;
    serve(stream, &path).context("the question makes no sense")
}

/// Puts the names that the other side sends into the file, and tells it what came of that.
///
/// # Errors
/// When they are no names, and when the connection breaks. The file is as it was.
pub(super) fn serve(mut stream: UnixStream, file: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(PEER_TIME))?;
    stream.set_write_timeout(Some(PEER_TIME))?;
    let mut question = Vec::new();
    (&stream).take(QUESTION_BYTES).read_to_end(&mut question)?;
    let names: Names = serde_json::from_slice(&question)?;
    let answer = match HostsFile::new(file.to_owned()).put(&names) {
        Ok(written) => Answer::Written(written),
        Err(error) => Answer::Failed(error.to_string()),
    };
    stream.write_all(&serde_json::to_vec(&answer)?)
}
