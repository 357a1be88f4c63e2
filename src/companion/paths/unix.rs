//! The development and test host.

use std::path::PathBuf;

use super::{Paths, PathsError};

#[expect(
    clippy::unnecessary_wraps,
    reason = "on Windows the places depend on variables"
)]
pub(super) fn standard() -> Result<Paths, PathsError> {
    Ok(Paths {
        config: "/etc/wslnet-companion/companion.toml".into(),
        state_dir: "/var/lib/wslnet-companion".into(),
        run_dir: "/run/wslnet-companion".into(),
        hosts: hosts(),
    })
}

pub(super) fn hosts() -> Option<PathBuf> {
    None
}
