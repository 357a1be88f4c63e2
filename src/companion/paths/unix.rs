//! The development and test host.

use super::Paths;

pub(super) fn standard() -> Paths {
    Paths {
        config: "/etc/wslnet-companion/companion.toml".into(),
        state_dir: "/var/lib/wslnet-companion".into(),
        run_dir: "/run/wslnet-companion".into(),
    }
}
