//! inotify: hints of changed files.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::read;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Room for any one event, with the longest name (inotify(7)). What does not fit stays for the next read.
const EVENTS: usize = 4096;

/// Whatever changes what is read from a folder's files, or whether they may be read.
const CHANGES: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_MODIFY)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_ATTRIB);

/// Watches folders.
#[derive(Debug)]
pub(super) struct FileHints {
    events: AsyncFd<OwnedFd>,
}

impl FileHints {
    /// Watches these folders, all of which have to be there.
    pub(super) fn new(folders: &[&Path]) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        for folder in folders {
            inotify.add_watch(*folder, CHANGES)?;
        }
        // SAFETY: an OwnedFd is its descriptor until it is dropped, and closes it only then.
        let events = unsafe { AsyncFd::register_with_interest(OwnedFd::from(inotify), Interest::READABLE) }?;
        Ok(Self { events })
    }

    /// Returns after the next change; all that has queued up counts as one. Cancel-safe.
    pub(super) async fn next(&mut self) {
        loop {
            let Ok(mut ready) = self.events.readable().await else {
                // The runtime is going away.
                return std::future::pending().await;
            };
            let mut seen = false;
            loop {
                match read(ready.get_inner(), &mut [0; EVENTS]) {
                    Ok(_) => seen = true,
                    Err(Errno::EAGAIN) => break,
                    Err(errno) => {
                        tracing::warn!(%errno, "no more hints of changed files");
                        return std::future::pending().await;
                    }
                }
            }
            ready.clear_ready();
            if seen {
                return;
            }
        }
    }
}
