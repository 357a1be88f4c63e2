//! splice(2).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::pump::side::is_transient;

/// What a pipe is asked to hold, in bytes. An unprivileged user who has many pipes gets less (pipe-user-pages-soft, pipe(7)),
/// which works too.
const ROOM: usize = 256 * 1024;

/// A pipe, and what is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    entry: OwnedFd,
    exit: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty pipe; `None` where the system has none left.
    pub(super) fn open() -> Option<Self> {
        let (exit, entry) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()?;
        let room = i32::try_from(ROOM).unwrap_or(i32::MAX);
        if let Err(error) = fcntl(&entry, FcntlArg::F_SETPIPE_SZ(room)) {
            tracing::trace!(%error, "a pipe keeps its first size");
        }
        Some(Self { entry, exit, held: 0 })
    }

    /// See [`super::Express::take`].
    pub(super) fn take(&mut self, source: &TcpStream) -> io::Result<Option<usize>> {
        // A full pipe would look as if nothing were there.
        debug_assert_eq!(self.held, 0, "it is handed on before more is taken");
        let taken = source.try_io(Interest::READABLE, || {
            Ok(splice(source, None, &self.entry, None, ROOM, flags())?)
        });
        match taken {
            Ok(taken) => {
                self.held = taken;
                Ok(Some(taken))
            }
            Err(error) if is_refusal(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// See [`super::Express::hand_on`].
    pub(super) fn hand_on(&mut self, sink: &TcpStream, count: &AtomicU64) -> io::Result<bool> {
        while self.held > 0 {
            let given = sink.try_io(Interest::WRITABLE, || {
                Ok(splice(&self.exit, None, sink, None, self.held, flags())?)
            });
            match given {
                // Never seen; without progress there would be no end.
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(given) => {
                    count.fetch_add(given as u64, Ordering::Relaxed);
                    self.held -= given;
                }
                Err(error) if is_transient(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// The system cannot do it with this socket, or a system call filter does not let us. A read would fail otherwise.
fn is_refusal(error: &io::Error) -> bool {
    [Errno::EINVAL, Errno::ENOSYS, Errno::EPERM]
        .iter()
        .any(|refusal| error.raw_os_error() == Some(*refusal as i32))
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}
