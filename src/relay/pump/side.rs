//! The two sockets of a connection, and what their failures mean.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use socket2::SockRef;
use tokio::net::TcpStream;

/// Why a direction stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// Nothing more can be delivered either way.
    AtOnce,
    /// The sink is gone, but what it said before is still to be read and delivered.
    SinkGone,
}

/// One of the two sockets.
#[derive(Debug)]
pub(super) struct Side<'a> {
    /// The socket.
    pub(super) stream: &'a TcpStream,
    /// A write has failed for good. On Linux that takes the error off the socket, and the next read would pass the
    /// reset off as an end of stream.
    is_gone: AtomicBool,
    /// The other side has nothing more to say to it.
    is_ended: AtomicBool,
}

impl<'a> Side<'a> {
    /// A socket to which nothing has happened yet.
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self {
            stream,
            is_gone: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
        }
    }

    /// Whether a write to it has failed for good.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    /// Takes note of a failed write or shutdown.
    pub(super) fn failed(&self, error: &io::Error) -> Broken {
        self.is_gone.store(true, Ordering::Relaxed);
        broken_sink(error)
    }

    /// Returns when there may be something to read, or the end. For one direction only: the last who asks is told.
    pub(super) async fn readable(&self) -> Result<(), Broken> {
        let ready = poll_fn(|context| self.stream.poll_read_ready(context));
        ready.await.map_err(|_gone| Broken::AtOnce)
    }

    /// Returns when it may take something. For one direction only, likewise.
    pub(super) async fn writable(&self) -> Result<(), Broken> {
        let ready = poll_fn(|context| self.stream.poll_write_ready(context));
        ready.await.map_err(|_gone| Broken::AtOnce)
    }

    /// Writes what it takes without waiting, and returns the rest.
    pub(super) fn write_now<'b>(&self, mut bytes: &'b [u8], count: &AtomicU64) -> Result<&'b [u8], Broken> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(written) => {
                    count.fetch_add(written as u64, Ordering::Relaxed);
                    bytes = &bytes[written..];
                }
                Err(error) if is_transient(&error) => break,
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(bytes)
    }

    /// Says that nothing more will be written.
    pub(super) fn end(&self) -> Result<(), Broken> {
        self.is_ended.store(true, Ordering::Relaxed);
        SockRef::from(self.stream)
            .shutdown(Shutdown::Write)
            .map_err(|error| self.failed(&error))
    }

    /// Whether that was said.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Relaxed)
    }
}

/// Whether to wait and try again.
pub(super) fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Only a sink that is surely dead may be read out: the read of a living one would wait.
fn broken_sink(error: &io::Error) -> Broken {
    let surely_dead = matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
    );
    if surely_dead {
        Broken::SinkGone
    } else {
        Broken::AtOnce
    }
}
