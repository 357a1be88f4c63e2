//! Dialling on Unix: nothing to set, a refusal is known at once.

use std::io;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// A TCP socket that never waits, by one system call.
pub(super) fn new_nonblocking(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

/// Does nothing: the first reset ends a connect here.
pub(super) fn fail_fast(_socket: &Socket) {}

/// Whether a non-blocking connect has begun and is not yet decided.
pub(super) fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EINPROGRESS as i32)
}
