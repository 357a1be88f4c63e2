//! On Linux an accepted socket is a copy of its listener, made when the handshake is over (`sk_clone_lock` in net/core/sock.c):
//! all options of [`prepare`](super::prepare) are in it.

use std::time::Duration;

use socket2::Socket;

/// Sets on a listening socket what its clients shall have. None of it means anything for the listener itself.
pub(super) fn bequeath(listening: &Socket) {
    if let Err(error) = super::prepare(listening) {
        tracing::debug!(%error, "a listening socket took no options");
    }
}

/// Whether an accepted socket has what its listener was given; one system call instead of five.
pub(super) fn has_inherited(accepted: &Socket) -> bool {
    accepted
        .linger()
        .is_ok_and(|linger| linger == Some(Duration::ZERO))
}
