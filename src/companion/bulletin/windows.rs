//! The pipe. Its access list is the one that Windows gives a pipe by itself: the system and administrators may do everything,
//! everybody may read
//! (<https://learn.microsoft.com/windows/win32/ipc/named-pipe-security-and-access-rights>), and it is made outbound, so that
//! nobody at all can write to it. To make another instance of it takes the right to write.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeServer, ServerOptions};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;
use wslnet_console::control::MAX_ANSWER_BYTES;

use super::{Bulletin, ReadError};
use crate::host::pipe_server_process;
use crate::install::service_process;

/// The pipe's name: one, as there is one service.
const PIPE: &str = r"\\.\pipe\wslnet-companion-bulletin";
/// How many readers are served at once; more wait.
const READERS: usize = 8;
/// How long a reader may take.
const READ_TIME: Duration = Duration::from_secs(5);
/// How old what is handed out may be, so that no flood of readers keeps the engine busy.
const FRESH: Duration = Duration::from_millis(50);
/// How long to wait after a reader that went wrong, and before a busy pipe is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// Why the pipe gave no bulletin.
#[derive(Debug, thiserror::Error)]
enum PipeError {
    /// Somebody else answers in the service's place.
    #[error(
        "process {0} has taken its place at the pipe {PIPE}, and is not believed: end it, and start the service anew"
    )]
    Stranger(u32),
    /// The pipe is not there, or broke.
    #[error("its pipe {PIPE} cannot be read: install this version, or start the service anew")]
    Silent(#[source] io::Error),
    /// It said something else.
    #[error("what it says is not understood: install the version of this program")]
    Malformed(#[source] serde_json::Error),
}

/// Where the bulletins hang.
#[derive(Debug)]
pub(crate) struct Board {
    name: &'static str,
    waiting: NamedPipeServer,
}

impl Board {
    /// Opens the pipe.
    ///
    /// # Errors
    /// When another program has it, and what else the system says.
    pub(crate) fn open() -> io::Result<Self> {
        Self::named(PIPE)
    }

    fn named(name: &'static str) -> io::Result<Self> {
        let waiting = instance(name, true)?;
        Ok(Self { name, waiting })
    }

    /// Hands bulletins out until it is told to stop.
    pub(crate) async fn serve<F: Future<Output = Bulletin>>(
        mut self,
        write: impl Fn() -> F,
        stop: CancellationToken,
    ) {
        let mut readers = JoinSet::new();
        let mut issue: Option<(Instant, Arc<[u8]>)> = None;
        loop {
            let reader = tokio::select! {
                reader = self.next() => reader,
                () = stop.cancelled() => return,
            };
            let reader = match reader {
                Ok(reader) => reader,
                Err(error) => {
                    tracing::debug!(%error, "a reader of the bulletin went away at once");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            while readers.try_join_next().is_some() {}
            if readers.len() >= READERS {
                readers.join_next().await;
            }
            let text = match &issue {
                Some((when, text)) if when.elapsed() < FRESH => text.clone(),
                _ => Arc::from(line(&write().await)),
            };
            issue = Some((Instant::now(), text.clone()));
            readers.spawn(hand_out(reader, text));
        }
    }

    async fn next(&mut self) -> io::Result<NamedPipeServer> {
        if let Err(error) = self.waiting.connect().await {
            // It can serve the next one only then.
            self.waiting.disconnect()?;
            return Err(error);
        }
        let next = instance(self.name, false)?;
        Ok(std::mem::replace(&mut self.waiting, next))
    }
}

fn instance(name: &str, first: bool) -> io::Result<NamedPipeServer> {
    ServerOptions::new()
        .access_inbound(false)
        .first_pipe_instance(first)
        .reject_remote_clients(true)
        .create(name)
}

/// One that JSON cannot express would be an empty line, which nobody takes for a bulletin.
fn line(bulletin: &Bulletin) -> Vec<u8> {
    let mut line = serde_json::to_vec(bulletin).unwrap_or_default();
    line.push(b'\n');
    line
}

async fn hand_out(mut reader: NamedPipeServer, text: Arc<[u8]>) {
    let write = async {
        reader.write_all(&text).await?;
        reader.flush().await
    };
    // Whoever does not read has no bulletin.
    drop(timeout(READ_TIME, write).await);
}

/// Reads the service's bulletin. Any program can make a pipe of that name while the service has none, so it must be the service's
/// own process that answers.
///
/// # Errors
/// See [`ReadError`].
pub(crate) async fn read() -> Result<Bulletin, ReadError> {
    let process = service_process().ok_or(ReadError::NotRunning)?;
    read_of(PIPE, process)
        .await
        .map_err(|error| ReadError::Failed(error.into()))
}

async fn read_of(name: &str, process: u32) -> Result<Bulletin, PipeError> {
    let text = timeout(READ_TIME, text_of(name, process))
        .await
        .map_err(|_| PipeError::Silent(io::ErrorKind::TimedOut.into()))??;
    serde_json::from_slice(&text).map_err(PipeError::Malformed)
}

async fn text_of(name: &str, process: u32) -> Result<Vec<u8>, PipeError> {
    let pipe = loop {
        match ClientOptions::new().write(false).open(name) {
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY.cast_signed()) => sleep(PAUSE).await,
            opened => break opened.map_err(PipeError::Silent)?,
        }
    };
    let server = pipe_server_process(&pipe).map_err(PipeError::Silent)?;
    if server != process {
        return Err(PipeError::Stranger(server));
    }
    let mut text = Vec::new();
    let read = pipe.take(MAX_ANSWER_BYTES as u64).read_to_end(&mut text).await;
    match read {
        // The end of a pipe may be an error, which is none if the text is whole.
        Err(error) if text.last() != Some(&b'\n') => Err(PipeError::Silent(error)),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use tokio::net::windows::named_pipe::NamedPipeClient;

    use super::*;
    use crate::bulletin::tests::bulletin;

    fn posted(name: &'static str) -> CancellationToken {
        let stop = CancellationToken::new();
        let board = Board::named(name).unwrap();
        tokio::spawn(board.serve(|| async { bulletin() }, stop.clone()));
        stop
    }

    #[tokio::test]
    async fn readers_get_the_bulletin_and_those_who_do_not_read_are_no_hindrance() {
        let name = r"\\.\pipe\wslnet-test-bulletin-readers";
        let _stop = posted(name);
        let idle: Vec<NamedPipeClient> = (0..READERS / 2)
            .filter_map(|_| ClientOptions::new().write(false).open(name).ok())
            .collect();
        assert!(!idle.is_empty());

        for _ in 0..3 {
            let read = read_of(name, std::process::id()).await.unwrap();

            assert_eq!(read.key, bulletin().key);
            assert_eq!(read.trusted, bulletin().trusted);
        }
    }

    #[tokio::test]
    async fn nobody_can_write_to_it() {
        let name = r"\\.\pipe\wslnet-test-bulletin-writers";
        let _stop = posted(name);

        let refused = ClientOptions::new().open(name).unwrap_err();

        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{refused}");
    }

    #[tokio::test]
    async fn another_program_in_the_services_place_is_not_believed() {
        let name = r"\\.\pipe\wslnet-test-bulletin-stranger";
        let _stop = posted(name);
        let (own, other) = (std::process::id(), std::process::id() + 4);

        let refused = read_of(name, other).await.unwrap_err();

        assert!(
            matches!(refused, PipeError::Stranger(pid) if pid == own),
            "{refused}"
        );
        let missing = read_of(r"\\.\pipe\wslnet-test-bulletin-none", own).await;
        assert!(matches!(missing, Err(PipeError::Silent(_))), "{missing:?}");
    }
}
