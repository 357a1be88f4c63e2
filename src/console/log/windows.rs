//! Windows has no journal.

/// Never.
pub(super) fn stderr_is_journal() -> bool {
    false
}
