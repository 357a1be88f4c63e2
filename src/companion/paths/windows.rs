//! The user's own folder: its access list lets nobody in but the user, the administrators and the system.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Paths, PathsError};

pub(super) fn standard() -> Result<Paths, PathsError> {
    below(std::env::var_os("LOCALAPPDATA"), std::env::var_os("USERPROFILE"))
}

/// The places, given the two variables. Never below the current directory, which may be anybody's: a key or a trust
/// list from there would be somebody else's.
fn below(local: Option<OsString>, profile: Option<OsString>) -> Result<Paths, PathsError> {
    let folder = |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    let local = folder(local)
        .or_else(|| Some(folder(profile)?.join("AppData").join("Local")))
        .ok_or(PathsError)?;
    Ok(Paths::below(&local.join("wslnet")))
}

impl Paths {
    /// All places in one folder.
    pub(crate) fn below(home: &Path) -> Self {
        Self {
            config: home.join("companion.toml"),
            state_dir: home.to_owned(),
            run_dir: home.to_owned(),
            hosts: hosts(),
        }
    }
}

pub(super) fn hosts() -> Option<PathBuf> {
    match wslnet_hosts::system_path() {
        Ok(path) => Some(path),
        Err(error) => {
            tracing::warn!(%error, "Windows does not say where its hosts file is");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn the_places_lie_in_a_folder_of_the_user_or_nowhere() {
        let home = |local: Option<&str>, profile: Option<&str>| {
            below(local.map(OsString::from), profile.map(OsString::from)).map(|paths| paths.state_dir)
        };
        let local = r"C:\Users\a\AppData\Local";

        let expected = PathBuf::from(r"C:\Users\a\AppData\Local\wslnet");
        assert_eq!(home(Some(local), Some(r"C:\else")).unwrap(), expected);
        for none in [None, Some(""), Some("."), Some(r"\Temp")] {
            assert_eq!(home(none, Some(r"C:\Users\a")).unwrap(), expected);
            assert_eq!(home(none, none), Err(PathsError));
        }
    }
}
