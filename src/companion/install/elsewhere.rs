//! Nothing is installed here: systemd starts programs on Linux, and this one is for development there.

use std::net::SocketAddr;

use super::{Installable, Keep, TrustChange, User};
use crate::pair::NamedKey;
use crate::paths::Paths;

const WHY: &str = "is for Windows; here `wslnet-companion run` is started by hand";

pub(crate) fn form_to_install() -> Installable {
    Installable::Logon
}

pub(crate) fn change_trust(_: &TrustChange, _: Option<&str>) -> anyhow::Result<()> {
    anyhow::bail!("changing what the service trusts {WHY}")
}

pub(crate) fn install(
    _: Installable,
    _: &[NamedKey],
    _: Option<User>,
    _: Option<&str>,
) -> anyhow::Result<()> {
    anyhow::bail!("`install` {WHY}")
}

pub(crate) fn uninstall(_: Keep, _: Option<User>, _: Option<&str>) -> anyhow::Result<()> {
    anyhow::bail!("`uninstall` {WHY}")
}

pub(crate) fn run_in_background(_: &Paths, _: bool, _: Option<SocketAddr>) -> anyhow::Result<()> {
    anyhow::bail!("`run --background` {WHY}")
}

/// There is no service.
pub(crate) fn service_paths() -> Option<Paths> {
    None
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_verbs_say_for_what_they_are() {
        for refused in [
            install(form_to_install(), &[], None, None),
            change_trust(&TrustChange::default(), None),
            uninstall(Keep::Nothing, None, None),
        ] {
            assert!(refused.unwrap_err().to_string().contains("is for Windows"));
        }
    }
}
