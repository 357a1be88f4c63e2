//! Carries the bytes of one connection, both ways, until both sides have said all they had to say or one is gone.
//! It neither dials nor closes: it tells how the connection ended, and the caller acts on it.

use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::budget::Budget;
use crate::pace::{Pace, with_scratch};

/// Bytes that a direction carries before it lets others run: reads that succeed at once never wait by themselves.
const BURST: usize = 1024 * 1024;
/// How often a side that has nothing more to say is asked whether it was reset, where no event tells.
const LOOK: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both directions came to their end, and both sides know.
    Complete,
    /// One side is gone; the other is to learn it by a reset.
    Reset,
}

/// Why a direction stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// Nothing more can be delivered either way.
    AtOnce,
    /// The sink is gone, but what it said before is still to be read and delivered.
    SinkGone,
}

/// One of the two sockets.
#[derive(Debug)]
struct Side<'a> {
    stream: &'a TcpStream,
    /// A write has failed for good. On Linux that takes the error off the socket, and the next read would pass the
    /// reset off as an end of stream.
    is_gone: AtomicBool,
}

impl<'a> Side<'a> {
    fn new(stream: &'a TcpStream) -> Self {
        Self {
            stream,
            is_gone: AtomicBool::new(false),
        }
    }

    /// Takes note of a failed write or shutdown.
    fn failed(&self, error: &io::Error) -> Broken {
        self.is_gone.store(true, Ordering::Relaxed);
        broken_sink(error)
    }
}

/// Bytes handed to the other side's socket; counted as they go, so the count is right however the connection ends.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Client to service.
    pub(crate) inward: AtomicU64,
    /// Service to client.
    pub(crate) outward: AtomicU64,
}

/// Carries everything between `client` and `service`.
///
/// There is no idle limit, also not when one side has finished: the answer to a request may take minutes.
pub(crate) async fn pump(client: &TcpStream, service: &TcpStream, traffic: &Traffic, budget: &Budget) -> End {
    let (client, service) = (&Side::new(client), &Side::new(service));
    let mut inward = pin!(carry(client, service, &traffic.inward, budget));
    let mut outward = pin!(carry(service, client, &traffic.outward, budget));

    let (first, rest, finished) = tokio::select! {
        first = &mut inward => (first, outward, client),
        first = &mut outward => (first, inward, service),
    };
    match first {
        Ok(()) => tokio::select! {
            biased;
            second = rest => second.map_or(End::Reset, |()| End::Complete),
            () = reset(finished.stream) => End::Reset,
        },
        Err(Broken::AtOnce) => End::Reset,
        Err(Broken::SinkGone) => {
            // A service that answers early and closes, with the request half read, resets: the answer still counts.
            // Its socket is dead, so this direction ends once it is read out.
            let _ended = rest.await;
            End::Reset
        }
    }
}

/// One direction: reads to the end of `source`, then ends `sink`.
async fn carry(source: &Side<'_>, sink: &Side<'_>, count: &AtomicU64, budget: &Budget) -> Result<(), Broken> {
    let mut pace = Pace::default();
    loop {
        source.stream.readable().await.map_err(|_gone| Broken::AtOnce)?;
        pace.share(budget.connections());
        if carry_burst(source, sink, count, &mut pace).await? {
            break;
        }
        tokio::task::yield_now().await;
    }
    if source.is_gone.load(Ordering::Relaxed) {
        return Err(Broken::AtOnce);
    }
    SockRef::from(sink.stream)
        .shutdown(Shutdown::Write)
        .map_err(|error| sink.failed(&error))
}

/// Carries what is there, but not for too long. Returns whether the source has come to its end.
async fn carry_burst(
    source: &Side<'_>,
    sink: &Side<'_>,
    count: &AtomicU64,
    pace: &mut Pace,
) -> Result<bool, Broken> {
    let mut carried = 0;
    while carried < BURST {
        match carry_once(source, sink, count, pace)? {
            Step::Carried(bytes) => carried += bytes,
            Step::Stuck(rest) => {
                carried += rest.len();
                write_all(sink, &rest, count).await?;
            }
            Step::Empty => break,
            Step::End => return Ok(true),
        }
    }
    Ok(false)
}

/// What one read came to.
enum Step {
    /// So many bytes were read, and the sink has taken all of them.
    Carried(usize),
    /// What the sink does not take now.
    Stuck(Vec<u8>),
    /// Nothing is there to be read now.
    Empty,
    /// Nothing will ever be there again.
    End,
}

/// Reads once and hands on what the sink takes without waiting. Only what it does not take costs memory of its own.
fn carry_once(
    source: &Side<'_>,
    sink: &Side<'_>,
    count: &AtomicU64,
    pace: &mut Pace,
) -> Result<Step, Broken> {
    with_scratch(|scratch| {
        let wanted = pace.size();
        let bytes = match source.stream.try_read(&mut scratch[..wanted]) {
            Ok(0) => return Ok(Step::End),
            Ok(read) => &scratch[..read],
            Err(error) if is_transient(&error) => return Ok(Step::Empty),
            Err(_) => return Err(Broken::AtOnce),
        };
        pace.has_read(bytes.len());
        let rest = write_now(sink, bytes, count)?;
        Ok(if rest.is_empty() {
            Step::Carried(bytes.len())
        } else {
            Step::Stuck(rest.to_vec())
        })
    })
}

/// Writes what the sink takes without waiting, and returns the rest.
fn write_now<'b>(sink: &Side<'_>, mut bytes: &'b [u8], count: &AtomicU64) -> Result<&'b [u8], Broken> {
    while !bytes.is_empty() {
        match sink.stream.try_write(bytes) {
            Ok(written) => {
                count.fetch_add(written as u64, Ordering::Relaxed);
                bytes = &bytes[written..];
            }
            Err(error) if is_transient(&error) => break,
            Err(error) => return Err(sink.failed(&error)),
        }
    }
    Ok(bytes)
}

async fn write_all(sink: &Side<'_>, mut bytes: &[u8], count: &AtomicU64) -> Result<(), Broken> {
    while !bytes.is_empty() {
        sink.stream.writable().await.map_err(|_gone| Broken::AtOnce)?;
        bytes = write_now(sink, bytes, count)?;
    }
    Ok(())
}

fn is_transient(error: &io::Error) -> bool {
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

/// Waits until `stream`, which was read to its end, is reset. Reading would not tell any more.
async fn reset(stream: &TcpStream) {
    loop {
        tokio::select! {
            _ = stream.ready(Interest::ERROR) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        // Windows reports an abort as "write side closed" and not as an error (mio 1.2, sys/windows/event.rs).
        let closed = tokio::select! {
            biased;
            ready = stream.ready(Interest::WRITABLE) => ready.map_or(true, |ready| ready.is_write_closed()),
            () = std::future::ready(()) => false,
        };
        if closed {
            return;
        }
    }
}
