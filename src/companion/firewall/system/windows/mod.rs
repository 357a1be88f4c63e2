//! The real firewall, through `INetFwPolicy2`, on COM's own thread.
//!
//! Written against Microsoft's documentation and run under Wine, whose rules take every property and give none back, and whose
//! collection of rules takes every rule and keeps none.

mod hyperv;
mod policy;
mod rules;

use std::path::Path;
use std::time::Duration;

use windows::Win32::Foundation::{E_ACCESSDENIED, ERROR_SERVICE_DISABLED, ERROR_SERVICE_NOT_ACTIVE};
use windows::core::{Error, HRESULT};

pub use self::hyperv::HyperV;
use self::rules::Rules;
use crate::firewall::look::Look;
use crate::firewall::{Properties, Rule, StoreError};
use crate::host::com::{self, ComError};
use crate::host::service;

/// How often all is looked at: it means reading some hundred rules.
pub const POLL: Duration = Duration::from_secs(60);
/// The firewall's service.
const SERVICE: &str = "mpssvc";
/// How long Windows Firewall may take for anything, and how much longer for each rule.
const PATIENCE: Duration = Duration::from_secs(5);
const FOR_EACH: Duration = Duration::from_millis(100);

/// This Windows' firewall.
#[derive(Clone, Debug)]
pub struct Store;

impl Store {
    /// This Windows' firewall. The directory is of use on Linux only.
    pub fn new(_state_dir: &Path) -> Self {
        Self
    }

    /// The rules of our group.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn ours(&self) -> Result<Vec<Properties>, StoreError> {
        ask(PATIENCE, || Ok(Rules::open()?.read(None)?.ours))
    }

    /// Makes rules, in their order, as far as it gets.
    ///
    /// # Errors
    /// When one could not be made.
    pub fn add(&self, new: &[Rule]) -> Result<(), StoreError> {
        let all: Vec<Properties> = new.iter().map(Rule::properties).collect();
        ask(patience(all.len()), move || {
            let rules = Rules::open()?;
            all.iter().try_for_each(|properties| rules.add(properties))
        })
    }

    /// Removes rules of our group by their names; those that are not there are no matter.
    ///
    /// # Errors
    /// When one could not be removed, or somebody else's has the name.
    pub fn remove(&self, names: &[String]) -> Result<(), StoreError> {
        let names = names.to_owned();
        ask(patience(names.len()), move || {
            let rules = Rules::open()?;
            names.iter().try_for_each(|name| rules.remove(name))
        })
    }

    /// Looks at everything. `image` is this program's file.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn look(&self, image: &Path) -> Result<Look, StoreError> {
        let service = service(SERVICE).map_err(|error| StoreError::Other(error.to_string()))?;
        let image = image.to_owned();
        let (read, profiles, void) = ask(PATIENCE, move || {
            let rules = Rules::open()?;
            let (profiles, void) = policy::settings(rules.policy());
            Ok((rules.read(Some(&image))?, profiles, void))
        })?;
        Ok(Look {
            service,
            profiles,
            policies: policy::policies(),
            void,
            ours: read.ours,
            image: read.image,
        })
    }
}

fn patience(rules: usize) -> Duration {
    PATIENCE + FOR_EACH * u32::try_from(rules).unwrap_or(u32::MAX)
}

/// Runs calls of COM. Their own errors come back through COM's thread as values.
fn ask<T: Send + 'static>(
    patience: Duration,
    calls: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match com::call(patience, || Ok(calls())) {
        Ok(result) => result,
        Err(ComError::NoAnswer(_)) => Err(StoreError::NoAnswer),
        Err(ComError::Refused(error)) => Err(error.into()),
    }
}

/// `RPC_S_SERVER_UNAVAILABLE` and `EPT_S_NOT_REGISTERED`: the service at the other end of a remote procedure call is away.
const NO_SERVER: [u32; 2] = [1722, 1753];

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let code = error.code();
        let disabled = [ERROR_SERVICE_DISABLED.0, ERROR_SERVICE_NOT_ACTIVE.0];
        let away = NO_SERVER.into_iter().chain(disabled);
        if code == E_ACCESSDENIED {
            Self::Denied
        } else if away.into_iter().any(|away| code == HRESULT::from_win32(away)) {
            Self::Stopped
        } else {
            Self::Other(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windows::Win32::Foundation::E_NOTIMPL;

    #[test]
    fn the_errors_that_people_meet_are_told_apart() {
        let of = |code: u32| StoreError::from(Error::from_hresult(HRESULT(code.cast_signed())));

        assert_eq!(of(0x8007_0005), StoreError::Denied);
        for away in [0x8007_06ba, 0x8007_06d9, 0x8007_0422, 0x8007_0426] {
            assert_eq!(of(away), StoreError::Stopped, "{away:x}");
        }
        assert!(matches!(
            StoreError::from(Error::from_hresult(E_NOTIMPL)),
            StoreError::Other(_)
        ));
    }
}
