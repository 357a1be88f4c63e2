//! There is no service, and so nobody who would tell anything.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;

use tokio_util::sync::CancellationToken;

use super::{Bulletin, ReadError};

/// There is none.
#[derive(Debug)]
pub(crate) struct Board(Infallible);

impl Board {
    pub(crate) fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn serve<F: Future<Output = Bulletin>>(
        self,
        _: impl Fn() -> F,
        _: CancellationToken,
    ) -> Ready<()> {
        match self.0 {}
    }
}

pub(crate) fn read() -> Ready<Result<Bulletin, ReadError>> {
    ready(Err(ReadError::NotRunning))
}
