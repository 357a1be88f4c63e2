//! The user's own folder: its access list lets nobody in but the user, the administrators and the system.

use std::path::PathBuf;

use super::Paths;

pub(super) fn standard() -> Paths {
    let local = std::env::var_os("LOCALAPPDATA").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let home = local.join("wslnet");
    Paths {
        config: home.join("companion.toml"),
        state_dir: home.clone(),
        run_dir: home,
    }
}
