//! The development and test host.

use nix::unistd::geteuid;

pub(super) fn ports() -> Result<(), String> {
    if geteuid().is_root() {
        Ok(())
    } else {
        Err("ports below 1024 may be root's".to_owned())
    }
}

pub(super) fn firewall_rules() -> Result<(), String> {
    Err("they are Windows'".to_owned())
}
