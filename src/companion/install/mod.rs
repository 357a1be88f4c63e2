//! The verbs `install` and `uninstall`: how the program comes to run on Windows by itself, and how it goes again.
//!
//! What is put on the machine stands in two lists of parts, one for what an ordinary user may do and one for what takes an
//! administrator; each part can be put and taken. A form wants some of them: to install it puts those and takes the others,
//! so that the other form is converted, and doing it again upgrades. To uninstall takes all, in the reverse order.
//!
//! An ordinary user's command does the user's parts itself, and has itself started once more, elevated, for the rest.
//! An administrator's does everything. The changes of the keys that the service trusts go the same way.

#[cfg(any(windows, test))]
mod access;
#[cfg(not(windows))]
mod elsewhere;
mod user;
#[cfg(windows)]
mod windows;

#[cfg(not(windows))]
use elsewhere as platform;
#[cfg(windows)]
use windows as platform;

pub(crate) use platform::{
    change_trust, form_to_install, install, run_in_background, service_paths, uninstall,
};
#[cfg(windows)]
pub(crate) use windows::{service_process, state_folder_is_ours};

pub(crate) use user::User;

use crate::pair::NamedKey;
use crate::paths::Paths;

/// Whether these are the places of the service, whose files only administrators may open.
pub(crate) fn is_service(paths: &Paths) -> bool {
    service_paths()
        .is_some_and(|service| service.state_dir == paths.state_dir && service.run_dir == paths.run_dir)
}

/// What is to change in the keys that the service trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrustChange {
    /// Keys that take the place of what has their names.
    pub trust: Vec<NamedKey>,
    /// Names whose keys are forgotten.
    pub untrust: Vec<String>,
}

/// The forms that can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Installable {
    /// For the user who installs it, from the logon on.
    Logon,
    /// As a Windows service.
    Service,
}

/// What `uninstall` leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The keys, the trusted keys and companion.toml.
    State,
    /// Nothing.
    Nothing,
}
