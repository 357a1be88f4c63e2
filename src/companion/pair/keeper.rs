//! Where a pairing reads and keeps the keys of this side. The one place that knows whose the state folder is: the user's, or the
//! service's, whose folder only administrators may open. Then the service itself tells what is no secret, and for what is to
//! be trusted anew this program is started once more, elevated: once for all distros, and not at all where the keys are known.

use std::io;
use std::path::Path;

use anyhow::{Context, anyhow};
use wslnet_link::{PublicKey, StoreError};

use super::NamedKey;
use crate::bulletin::{self, Bulletin};
use crate::install::{self, TrustChange};
use crate::paths::Paths;

/// What to do where a folder is not the user's own.
const ELEVATE: &str = "this folder is for administrators only: run the command again in an administrator's terminal of the same \
                       Windows user. Where that user is none, an administrator trusts the key by \
                       `wslnet-companion trust NAME KEY`, and the distro the companion's by `wslnetd trust KEY`";

/// The keys of this side.
#[derive(Debug)]
pub(super) enum Keeper<'a> {
    /// Those in a state folder of this user's.
    Folder(&'a Path),
    /// Those of the service, as it tells them.
    Service(Box<Bulletin>),
}

impl<'a> Keeper<'a> {
    /// Those of the companion at these places.
    pub(super) fn open(paths: &'a Paths) -> anyhow::Result<Self> {
        if !install::is_service(paths) {
            return Ok(Self::Folder(&paths.state_dir));
        }
        match bulletin::read_now() {
            Ok(bulletin) => Ok(Self::Service(Box::new(bulletin))),
            // The service need not run for an administrator.
            Err(_) if wslnet_link::load_or_create(&paths.state_dir).is_ok() => {
                Ok(Self::Folder(&paths.state_dir))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The companion's public key; a new one is made where there is none.
    pub(super) fn key(&self) -> anyhow::Result<PublicKey> {
        match self {
            Self::Folder(state_dir) => {
                let key = wslnet_link::load_or_create(state_dir);
                Ok(explained(key, "cannot use the key")?.public())
            }
            Self::Service(bulletin) => Ok(bulletin.key),
        }
    }

    /// Trusts distros' keys in place of those that had their names; those are returned, in the same order.
    pub(super) fn trust(&self, wanted: &[NamedKey]) -> Vec<anyhow::Result<Option<PublicKey>>> {
        match self {
            Self::Folder(state_dir) => wanted.iter().map(|named| in_folder(state_dir, named)).collect(),
            Self::Service(bulletin) => by_service(bulletin, wanted, |new| {
                let change = TrustChange {
                    trust: new.to_vec(),
                    untrust: Vec::new(),
                };
                install::change_trust(&change, None)
            }),
        }
    }
}

fn in_folder(state_dir: &Path, named: &NamedKey) -> anyhow::Result<Option<PublicKey>> {
    match wslnet_link::trust(state_dir, &named.name, named.key) {
        Err(StoreError::OtherName { name, .. }) => Err(other_name(&named.name, &name)),
        done => explained(done, "cannot trust the distro's key"),
    }
}

/// Has the service trust what it does not trust yet, by one change for all.
fn by_service(
    bulletin: &Bulletin,
    wanted: &[NamedKey],
    change: impl FnOnce(&[NamedKey]) -> anyhow::Result<()>,
) -> Vec<anyhow::Result<Option<PublicKey>>> {
    let former = |named: &NamedKey| bulletin.trusted.get(&named.name).copied();
    let has_other_name = |named: &NamedKey| {
        bulletin
            .trusted
            .iter()
            .find(|(name, key)| **key == named.key && **name != named.name)
    };
    let is_new = |named: &&NamedKey| former(named) != Some(named.key) && has_other_name(named).is_none();
    let new: Vec<NamedKey> = wanted.iter().filter(is_new).cloned().collect();
    let changed = if new.is_empty() { Ok(()) } else { change(&new) };
    let changed = changed.map_err(|error| format!("{error:#}"));
    wanted
        .iter()
        .map(|named| match (&changed, has_other_name(named)) {
            (_, Some((name, _))) => Err(other_name(&named.name, name)),
            (Err(reason), _) if is_new(&named) => Err(anyhow!("{reason}")),
            _ => Ok(former(named)),
        })
        .collect()
}

fn other_name(distro: &str, name: &str) -> anyhow::Error {
    anyhow!(
        "its key is already trusted as {name:?}. If that is the same distro under its former name: \
         `wslnet-companion untrust {name}`, then pair again. If one is a copy of the other, the copy needs a key of \
         its own: `wsl -d {distro} -u root --exec rm /var/lib/wslnetd/key`, \
         `wsl -d {distro} -u root --exec systemctl restart wslnetd`, then pair again"
    )
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
    use std::cell::RefCell;

    use super::*;
    use crate::bulletin::tests::bulletin;

    fn named(name: &str, byte: &str) -> NamedKey {
        NamedKey::new(name.to_owned(), byte.repeat(32).parse().unwrap()).unwrap()
    }

    type Done = Vec<Result<Option<PublicKey>, String>>;

    /// What becomes of each, and which keys an administrator was asked for, for each time.
    fn asked(wanted: &[NamedKey], answer: anyhow::Result<()>) -> (Done, Vec<Vec<NamedKey>>) {
        let questions = RefCell::new(Vec::new());
        let done = by_service(&bulletin(), wanted, |new| {
            questions.borrow_mut().push(new.to_vec());
            answer
        });
        let done = done.into_iter().map(|one| one.map_err(|error| error.to_string()));
        (done.collect(), questions.into_inner())
    }

    #[test]
    fn a_key_of_another_name_is_refused_with_both_ways_out() {
        let place = tempfile::tempdir().unwrap();
        let keeper = Keeper::Folder(place.path());
        let trust = |named: &NamedKey| keeper.trust(std::slice::from_ref(named)).remove(0);
        let (ubuntu, copy) = (named("Ubuntu", "bf"), named("Copy", "bf"));
        assert_eq!(trust(&ubuntu).unwrap(), None);

        let refused = trust(&copy).unwrap_err().to_string();

        assert!(
            refused.contains("untrust Ubuntu") && refused.contains("-d Copy -u root"),
            "{refused}"
        );
        assert_eq!(trust(&ubuntu).unwrap(), Some(ubuntu.key));
        let (of_service, questions) = asked(&[copy], Ok(()));
        assert_eq!(of_service, [Err(refused)]);
        assert!(questions.is_empty());
    }

    #[test]
    fn what_the_service_trusts_already_takes_no_administrator() {
        let known = named("Ubuntu", "bf");

        let (done, questions) = asked(std::slice::from_ref(&known), Ok(()));

        assert_eq!(done, [Ok(Some(known.key))]);
        assert!(questions.is_empty());
    }

    #[test]
    fn all_that_is_new_is_asked_for_at_once_and_a_no_is_no_harm_to_the_others() {
        let wanted = [named("Ubuntu", "bf"), named("Debian", "19"), named("Arch", "2a")];
        let new = wanted[1..].to_vec();

        let (done, questions) = asked(&wanted, Ok(()));
        assert_eq!(done, [Ok(Some(wanted[0].key)), Ok(None), Ok(None)]);
        assert_eq!(questions, [new]);

        let (done, _) = asked(&wanted, Err(anyhow!("the answer was no")));
        let no = Err("the answer was no".to_owned());
        assert_eq!(done, [Ok(Some(wanted[0].key)), no.clone(), no]);
    }

    #[test]
    fn a_changed_key_of_a_distro_is_new() {
        let (former, changed) = (named("Ubuntu", "bf"), named("Ubuntu", "2a"));

        let (done, questions) = asked(std::slice::from_ref(&changed), Ok(()));

        assert_eq!(done, [Ok(Some(former.key))]);
        assert_eq!(questions, [[changed]]);
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
