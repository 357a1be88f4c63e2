//! Opening a config file on Windows. Who may write it is the business of the directory's access list, which the
//! installer sets.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

/// Opens for reading.
pub(super) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Never: the mode bits of Unix have no counterpart here.
pub(super) fn everybody_may_write(_metadata: &Metadata) -> bool {
    false
}
