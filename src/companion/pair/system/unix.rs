//! The development and test host.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pair::distros::Registered;

#[expect(clippy::unnecessary_wraps, reason = "on Windows the registry can refuse")]
pub(in crate::pair) fn registered() -> io::Result<Option<Vec<Registered>>> {
    Ok(None)
}

pub(in crate::pair) fn wsl_exe() -> io::Result<PathBuf> {
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "there is no wsl.exe on Linux: name a stand-in by --wsl",
    ))
}

pub(in crate::pair) fn command(program: &Path) -> Command {
    Command::new(program)
}
