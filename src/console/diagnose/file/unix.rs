//! Opening and judging a config file on Unix.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

/// Opens for reading without waiting for the writer of a FIFO.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
}

/// Whether the mode lets others write.
pub(super) fn everybody_may_write(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o002 != 0
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use nix::sys::stat::Mode;

    use super::super::read_file;

    #[test]
    fn a_file_that_everybody_may_write_is_refused_and_the_fix_is_named() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("config.toml");
        fs::write(&path, "a = 1\n").expect("file written");
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("mode set");

        let refusal = read_file(&path).expect_err("refused").to_string();

        assert!(
            refusal.contains(&format!("chmod o-w {}", path.display())),
            "{refusal}"
        );
        fs::set_permissions(&path, Permissions::from_mode(0o664)).expect("mode set");
        assert!(read_file(&path).is_ok());
    }

    #[test]
    fn a_fifo_is_refused_without_waiting() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRUSR).expect("fifo made");

        let refusal = read_file(&path).expect_err("refused").to_string();

        assert!(refusal.contains("is not a regular file"), "{refusal}");
    }
}
