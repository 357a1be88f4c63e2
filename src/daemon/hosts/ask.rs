//! The daemon's side: looks at the file, and asks the helper where it is not as it should be.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use wslnet_console::text::clean;
use wslnet_hosts::{HostsFile, Names, Place, Written};

use super::Places;
use super::helper::{ANSWER_BYTES, Answer};

/// How long the helper may take, with its start.
const HELPER_TIME: Duration = Duration::from_secs(10);

/// How much of an answer's text is kept, in characters.
const TEXT: usize = 300;

/// The way to the file by the helper.
pub(super) struct Asker {
    places: Places,
    file: HostsFile,
}

impl Asker {
    pub(super) fn new(places: Places) -> Self {
        Self {
            file: HostsFile::new(places.file.clone()),
            places,
        }
    }

    async fn ask(&self, names: &Names) -> Result<Answer, String> {
        let asked = timeout(HELPER_TIME, exchange(&self.places, names)).await;
        asked.map_err(io::Error::from).and_then(|answer| answer).map_err(|error| {
            let is_absent = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind());
            if is_absent {
                "nobody is there to write it: `sudo systemctl enable --now wslnetd-hosts.socket`".to_owned()
            } else {
                format!("the helper that writes it failed ({error}): `journalctl -u 'wslnetd-hosts@*'` says more")
            }
        })
    }
}

impl Place for Asker {
    async fn put(&mut self, names: &Names) -> Result<Written, String> {
        let (mut file, wanted) = (self.file.clone(), names.clone());
        let looked = spawn_blocking(move || {
            let seen = file.look(&wanted);
            (file, seen)
        });
        let (file, seen) = looked
            .await
            .map_err(|error| format!("the hosts file was not read: {error}"))?;
        self.file = file;
        match seen.map_err(|error| error.to_string())? {
            Written { changed: true, .. } => match self.ask(names).await? {
                Answer::Written(written) => Ok(written),
                Answer::Failed(error) => Err(clean(&error, TEXT)),
            },
            as_it_should_be => Ok(as_it_should_be),
        }
    }
}

async fn exchange(places: &Places, names: &Names) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(&places.socket).await?;
    stream.write_all(&serde_json::to_vec(names)?).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}
