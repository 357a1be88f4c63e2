//! Windows lets accepted sockets inherit too, but does not say which options (accept, "Remarks").

use socket2::Socket;

/// Does nothing.
pub(super) fn bequeath(_listening: &Socket) {}

/// `false`: what nobody promises is set.
pub(super) fn has_inherited(_accepted: &Socket) -> bool {
    false
}
