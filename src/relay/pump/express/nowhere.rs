//! A system without such a way.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::AtomicU64;

use tokio::net::TcpStream;

/// There is none.
#[derive(Debug)]
pub(super) struct Pipe(Infallible);

impl Pipe {
    /// `None`.
    pub(super) fn open() -> Option<Self> {
        None
    }

    /// Never called.
    pub(super) fn take(&mut self, _source: &TcpStream) -> io::Result<Option<usize>> {
        match self.0 {}
    }

    /// Never called.
    pub(super) fn hand_on(&mut self, _sink: &TcpStream, _count: &AtomicU64) -> io::Result<bool> {
        match self.0 {}
    }
}
