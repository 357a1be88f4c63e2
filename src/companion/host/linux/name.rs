//! The machine's name.

/// As `hostname` prints it.
pub(in crate::host) fn own_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
