//! Whether stderr goes to the journal.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

/// Whether `$JOURNAL_STREAM` names the file that stderr is. Its presence alone says little: a shell under a service
/// inherits it, and so does whatever runs with stderr redirected. Source: systemd.exec(5).
pub(super) fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|fd| File::from(fd).metadata());
    stderr.is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}
