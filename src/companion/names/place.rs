//! The hosts file as a place for names: written on a thread that may wait for those who hold the file.

use std::path::PathBuf;

use tokio::task::spawn_blocking;
use wslnet_hosts::{FileError, HostsFile, Names, Place, Written};

/// Writes the hosts file.
pub(super) struct Writer {
    file: HostsFile,
    /// Whether it is still to be found out if the file can be written, although there is nothing to write.
    probe: bool,
    /// That there is no right to, as was found out so. Without names that is not tried again and again.
    refused: Option<String>,
}

impl Writer {
    pub(super) fn new(path: PathBuf, probe: bool) -> Self {
        Self {
            file: HostsFile::new(path),
            probe,
            refused: None,
        }
    }
}

impl Place for Writer {
    async fn put(&mut self, names: &Names) -> Result<Written, String> {
        let (mut file, wanted, probe) = (self.file.clone(), names.clone(), self.probe);
        let put = spawn_blocking(move || {
            let result = match file.put(&wanted) {
                Ok(written) if probe && !written.changed => file.probe().map(|()| written),
                result => result,
            };
            (file, result)
        });
        let (file, result) = put
            .await
            .map_err(|error| format!("the hosts file was not written: {error}"))?;
        self.file = file;
        // What another program is to blame for may be over by the next time.
        let has_no_right = matches!(result, Err(FileError::NoRight(_)));
        self.probe &= result.is_err() && !has_no_right;
        let result = result.map_err(|error| advise(&error));
        if probe || !names.is_empty() {
            self.refused = result.clone().err().filter(|_| has_no_right);
        }
        match (&self.refused, result) {
            (Some(refused), Ok(_)) => Err(refused.clone()),
            (_, result) => result,
        }
    }
}

/// The error, and what to do about it.
pub(super) fn advise(error: &FileError) -> String {
    match error {
        FileError::NoRight(_) => format!(
            "{error}: run it as a service (`wslnet-companion install --service`) or as an administrator, or say `names = false` in companion.toml"
        ),
        FileError::Marked(_) => {
            format!("{error}: take the mark off, or say `names = false` in companion.toml")
        }
        FileError::Held(_) | FileError::Contended(_) => format!("{error}; it is tried again"),
        FileError::Link(_)
        | FileError::NotAFile(_)
        | FileError::TooLong(_)
        | FileError::ReadOnly(_)
        | FileError::Mounted(_) => format!("{error}: names need a plain file that can be replaced"),
        FileError::Missing(_) | FileError::Utf16(_) | FileError::Other { .. } => error.to_string(),
    }
}
