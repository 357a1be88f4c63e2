//! Notices at once that the companion closed the session's connection, instead of at the next renewal.
//!
//! The HTTP client keeps its sockets to itself, and looks at an idle one only when it is used again. But a companion that
//! was restarted must have everything back within a second. So the daemon looks for the socket among its own
//! descriptors and watches a duplicate of it; nothing is ever read from it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{BorrowedFd, RawFd};

use tokio::io::Interest;

/// A watch on one connection of this process. Drop it together with the connection: while it lives, so does the socket.
#[derive(Debug)]
pub(super) struct Lifeline(Option<tokio::net::TcpStream>);

impl Lifeline {
    /// Looks for the connection between these two ends. Where it is not found (an address translation between the two
    /// sides), [`Lifeline::is_watching`] is false and [`Lifeline::cut`] never returns.
    pub(super) fn find(local: SocketAddr, remote: SocketAddr) -> Self {
        let found = own_sockets().and_then(|mut sockets| {
            let found = sockets.find(|socket| {
                socket.local_addr().ok() == Some(local) && socket.peer_addr().ok() == Some(remote)
            });
            found.map(tokio::net::TcpStream::from_std).transpose()
        });
        match found {
            Ok(found) => Self(found),
            Err(error) => {
                tracing::debug!(%error, "the connection to the companion cannot be watched");
                Self(None)
            }
        }
    }

    /// Whether the connection was found.
    pub(super) fn is_watching(&self) -> bool {
        self.0.is_some()
    }

    /// Returns when the other side has closed the connection or it has failed.
    pub(super) async fn cut(&self) {
        let Some(stream) = &self.0 else {
            return std::future::pending().await;
        };
        // Answers make it readable too; taking note of that without reading them waits for the next change.
        while let Ok(ready) = stream.ready(Interest::READABLE).await {
            if ready.is_read_closed() || ready.is_error() {
                return;
            }
            let noted = stream.try_io(Interest::READABLE, || {
                Err::<(), _>(io::ErrorKind::WouldBlock.into())
            });
            debug_assert!(noted.is_err(), "nothing is read here");
        }
    }
}

/// Duplicates of the sockets of this process.
fn own_sockets() -> io::Result<impl Iterator<Item = TcpStream>> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    Ok(entries.flatten().filter_map(|entry| {
        let link = std::fs::read_link(entry.path()).ok()?;
        if !link.to_str()?.starts_with("socket:") {
            return None;
        }
        let number = entry.file_name().to_str()?.parse::<RawFd>().ok()?;
        // SAFETY: the descriptor is used for nothing but to be duplicated. If another thread closed it meanwhile, that
        // fails; if the number was given away again, the duplicate is of another socket or file, which the caller
        // recognises by its addresses and drops.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        borrowed.try_clone_to_owned().ok().map(TcpStream::from)
    }))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn the_end_of_the_connection_is_noticed_and_its_traffic_is_not_touched() {
        let (mut ours, mut theirs) = pair();
        let lifeline = Lifeline::find(ours.local_addr().unwrap(), ours.peer_addr().unwrap());
        assert!(lifeline.is_watching());

        theirs.write_all(b"answer").unwrap();
        let early = tokio::time::timeout(Duration::from_millis(100), lifeline.cut()).await;
        assert!(early.is_err(), "an answer is no end");
        let mut answer = [0; 6];
        ours.set_nonblocking(false).unwrap();
        ours.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");

        drop(theirs);
        tokio::time::timeout(SOON, lifeline.cut()).await.unwrap();
    }

    #[tokio::test]
    async fn other_connections_are_not_watched() {
        let (ours, theirs) = pair();
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

        assert!(!Lifeline::find(ours.local_addr().unwrap(), elsewhere).is_watching());
        drop((ours, theirs));
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        ours.set_nonblocking(true).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        (ours, theirs)
    }
}
