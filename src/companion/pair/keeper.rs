//! Where a pairing reads and keeps the keys of this side. The one place that knows whose the state folder is: where it is the
//! service's, whose folder only administrators may open, this is where the two steps would be run elevated.

use std::io;
use std::path::Path;

use anyhow::Context;
use wslnet_link::{PublicKey, StoreError};

/// What to do where the folder is not the user's own.
const ELEVATE: &str = "this folder is for administrators only, as the service's is: run the command again in an administrator's \
                       terminal of the same Windows user. Where that user is none, an administrator trusts the key by \
                       `wslnet-companion trust NAME KEY`, and the distro the companion's by `wslnetd trust KEY`";

/// The keys of this side.
#[derive(Debug)]
pub(super) struct Keeper<'a> {
    state_dir: &'a Path,
}

impl<'a> Keeper<'a> {
    /// Those in a state folder.
    pub(super) fn new(state_dir: &'a Path) -> Self {
        Self { state_dir }
    }

    /// The companion's public key; a new one is made where there is none.
    pub(super) fn key(&self) -> anyhow::Result<PublicKey> {
        let key = wslnet_link::load_or_create(self.state_dir);
        Ok(explained(key, "cannot use the key")?.public())
    }

    /// Trusts a distro's key in place of the one that had the name; that one is returned.
    pub(super) fn trust(&self, distro: &str, key: PublicKey) -> anyhow::Result<Option<PublicKey>> {
        match wslnet_link::trust(self.state_dir, distro, key) {
            Err(StoreError::OtherName { name, .. }) => {
                anyhow::bail!(
                    "its key is already trusted as {name:?}. If that is the same distro under its former name: \
                     `wslnet-companion untrust {name}`, then pair again. If one is a copy of the other, the copy needs a key of \
                     its own: `wsl -d {distro} -u root --exec rm /var/lib/wslnetd/key`, \
                     `wsl -d {distro} -u root --exec systemctl restart wslnetd`, then pair again"
                )
            }
            done => explained(done, "cannot trust the distro's key"),
        }
    }
}

fn explained<T>(done: Result<T, StoreError>, what: &'static str) -> anyhow::Result<T> {
    match done {
        Err(error) if is_denied(&error) => Err(error).context(ELEVATE),
        done => done.context(what),
    }
}

/// Whether the system does not let this user in.
fn is_denied(error: &StoreError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        let io = current.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = current.source();
    }
    false
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use wslnet_link::KeyPair;

    #[test]
    fn a_key_of_another_name_is_refused_with_both_ways_out() {
        let place = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(place.path());
        let key = KeyPair::generate().unwrap().public();
        assert_eq!(keeper.trust("Ubuntu", key).unwrap(), None);

        let refused = keeper.trust("Copy", key).unwrap_err().to_string();

        assert!(
            refused.contains("untrust Ubuntu") && refused.contains("-d Copy -u root"),
            "{refused}"
        );
        assert_eq!(keeper.trust("Ubuntu", key).unwrap(), Some(key));
    }

    #[test]
    fn a_folder_of_administrators_is_told_as_such() {
        let path = std::path::PathBuf::from("trusted.toml");
        let source = io::ErrorKind::PermissionDenied.into();
        let denied = explained::<()>(Err(StoreError::Read { path, source }), "cannot trust");

        assert!(
            denied
                .unwrap_err()
                .to_string()
                .contains("administrator's terminal")
        );
    }
}
