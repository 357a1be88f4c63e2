//! The distros of this Windows user, and the program that runs commands in them.

use std::io;
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use windows_registry::CURRENT_USER;
use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

use crate::host::{is_missing_key, system_directory};
use crate::pair::distros::Registered;

/// Where WSL keeps the distros of the user: a key for each, named by its GUID.
const LXSS: &str = r"Software\Microsoft\Windows\CurrentVersion\Lxss";
/// The most distros that are looked at.
const MOST: usize = 256;

/// The distros in the registry. It is what `wsl.exe --list` reads, without its language and its UTF-16, and starts no VM. Values
/// `DistributionName` and `Version` as WSL writes them (microsoft/WSL, `DistributionRegistration.cpp`); a distro that is being
/// installed has no name yet.
pub(in crate::pair) fn registered() -> io::Result<Option<Vec<Registered>>> {
    let lxss = match CURRENT_USER.open(LXSS).map_err(io::Error::from) {
        Ok(lxss) => lxss,
        Err(error) if is_missing_key(&error) => return Ok(Some(Vec::new())),
        Err(error) => return Err(error),
    };
    let distro = |key: String| {
        let key = lxss.open(key).ok()?;
        Some(Registered {
            name: key.get_string("DistributionName").ok()?,
            // Before WSL 2 there was no such value.
            version: key.get_u32("Version").unwrap_or(1),
        })
    };
    let keys = lxss.keys()?;
    Ok(Some(keys.take(MOST).filter_map(distro).collect()))
}

/// Windows' own `wsl.exe`, by the system's folder and not by a search.
pub(in crate::pair) fn wsl_exe() -> io::Result<PathBuf> {
    Ok(system_directory()?.join("wsl.exe"))
}

/// Without a window of its own, and in a folder of the system's: `wsl.exe` would start its command where it stands itself.
pub(in crate::pair) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.creation_flags(CREATE_NO_WINDOW);
    // What the system does not tell, the folder stays as it is.
    if let Ok(folder) = system_directory() {
        command.current_dir(folder);
    }
    command
}
