//! Linux: a rename replaces a file in one step.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use crate::block::LineEnd;

/// How lines end where the file shows none.
pub(super) const LINE_END: LineEnd = LineEnd::Lf;

/// Whether the mark of a file that it must not be written binds those who may write it. Here it is a right like others.
pub(super) const HEEDS_READ_ONLY: bool = false;

/// Whether there is a moment in which neither the old file nor the new one is in its place.
pub(super) const REPLACES_IN_TWO_STEPS: bool = false;

#[expect(clippy::unnecessary_wraps, reason = "Windows has to be asked")]
pub(super) fn system_path() -> io::Result<PathBuf> {
    Ok("/etc/hosts".into())
}

/// Gives the new file the owner and the mode of the old one.
pub(super) fn make_alike(new: &File, old: &Metadata) -> io::Result<()> {
    let made = new.metadata()?;
    // Root without capabilities may not change owners, and need not if they are the same.
    if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid()))?;
    }
    new.set_permissions(Permissions::from_mode(old.mode() & 0o7777))
}

pub(super) fn replace(new: &Path, old: &Path) -> io::Result<()> {
    std::fs::rename(new, old)?;
    // The rename too should outlive a power cut; if it does not, the old file does.
    let folder = old.parent().map(File::open);
    if let Some(Err(error)) = folder.map(|folder| folder.and_then(|folder| folder.sync_all())) {
        tracing::debug!(%error, "the folder of the hosts file could not be synchronised");
    }
    Ok(())
}

/// Nobody keeps others from a file here.
pub(super) fn is_held(_: &io::Error) -> bool {
    false
}
