//! The reader: asks one engine for its containers, again whenever something happens to one of them, and reports.
//!
//! It is all that has to do with the sockets of engines, whose owner is as good as root. The daemon does not have that right:
//! `wslnetd containers` is this reader as a program of its own, started by `wslnetd-engines.socket` for each engine that the
//! daemon asks about. It can be told which engine, and sends the requests below; nothing else can come of it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as BlockingStream;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::api::{Api, ApiError, Sockets};
use super::list::{self, LIST_BYTES};
use super::report::{self, Answer, QUESTION_BYTES, Report};
use super::{Engine, EngineKind};

/// What happens to containers and may change the list; both engines take the same words. Everything that arrives asks for a new
/// list, so none of it is read. `{"type":["container"],"event":["start","restart","die","stop","rename","update","destroy"]}`
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22start%22%2C%22restart%22\
                      %2C%22die%22%2C%22stop%22%2C%22rename%22%2C%22update%22%2C%22destroy%22%5D%7D";
const DOCKER_LIST: &str = "/containers/json";
/// Podman takes any version here, but there must be one.
const PODMAN_LIST: &str = "/v4.0.0/libpod/containers/json";

/// How long the other side may take to say what it wants, and to take a report.
const PEER_TIME: Duration = Duration::from_secs(10);
/// How long to wait after a list before the next one, whatever happens.
const GAP: Duration = Duration::from_millis(100);
/// How often to ask for the list although nothing happens: a safety net, and how a silent engine is noticed.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// Pauses after failures; the last one repeats.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// `wslnetd containers`: serves whoever is at the other end of standard input, which must be a socket.
///
/// # Errors
/// When it is none, and when what comes from there makes no sense.
pub(crate) fn run() -> anyhow::Result<()> {
    let stream = BlockingStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream
        .peer_addr()
        .context("this is for wslnetd-engines.socket, which hands over a connection of the daemon")?;
    stream.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let stream = UnixStream::from_std(stream)?;
        serve(stream, &Sockets::default()).await
    })?;
    Ok(())
}

/// Reports about the engine that the other side names, until it goes.
///
/// # Errors
/// When it names none, and when the connection breaks.
pub(super) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, sockets: &Sockets) -> io::Result<()> {
    let (input, output) = split(stream);
    let mut peer = Peer {
        input,
        output,
        again: 0,
    };
    let question = timeout(PEER_TIME, peer.question());
    let Some(engine) = question.await.map_err(io::Error::from)?? else {
        return Ok(());
    };
    let api = Api::new(engine, sockets);
    let mut pauses = PAUSES.iter();
    loop {
        let attempt = Instant::now();
        let (has_listed, error) = match follow(engine, &api, &mut peer).await {
            Followed::Left(outcome) => return outcome,
            Followed::Failed { has_listed, error } => (has_listed, error),
        };
        if has_listed {
            pauses = PAUSES.iter();
        }
        let text = error.to_string();
        let is_absence = error.is_absence();
        let answer = if is_absence {
            Answer::Absent(text)
        } else {
            Answer::Silent(text)
        };
        peer.tell(answer).await?;

        let pause = pauses.next().or(PAUSES.last()).copied().unwrap_or_default();
        sleep_until(attempt + GAP).await;
        tokio::select! {
            () = sleep(pause) => {}
            is_there = peer.wish() => if !is_there? { return Ok(()) },
        }
    }
}

/// How following an engine ended.
enum Followed {
    /// The other side has gone.
    Left(io::Result<()>),
    /// The engine has.
    Failed {
        /// Whether it had answered before.
        has_listed: bool,
        /// What went wrong.
        error: ApiError,
    },
}

/// Reports lists for as long as both sides stay. The events come first: what happens while the first list is made is not missed.
async fn follow<S: AsyncRead + AsyncWrite>(engine: Engine, api: &Api, peer: &mut Peer<S>) -> Followed {
    let mut has_listed = false;
    let failed = |has_listed, error| Followed::Failed { has_listed, error };
    let mut events = match api.get(EVENTS).await {
        Ok(events) => events,
        Err(error) => return failed(has_listed, error),
    };
    loop {
        let begun = Instant::now();
        let list = match list(engine, api).await {
            Ok(list) => list,
            Err(error) => return failed(has_listed, error),
        };
        has_listed = true;
        if let Err(error) = peer.tell(Answer::List(list)).await {
            return Followed::Left(Err(error));
        }
        sleep_until(begun + GAP).await;
        tokio::select! {
            event = events.chunk() => match event {
                Ok(Some(_)) => {}
                Ok(None) => return failed(has_listed, api.unusable("its events came to an end")),
                Err(error) => return failed(has_listed, error),
            },
            is_there = peer.wish() => match is_there {
                Ok(true) => {}
                Ok(false) => return Followed::Left(Ok(())),
                Err(error) => return Followed::Left(Err(error)),
            },
            () = sleep(LIST_EVERY) => {}
        }
    }
}

async fn list(engine: Engine, api: &Api) -> Result<list::List, ApiError> {
    let query = match engine.kind {
        EngineKind::Docker => DOCKER_LIST,
        EngineKind::Podman => PODMAN_LIST,
    };
    let json = api.get_all(query, LIST_BYTES).await?;
    list::parse(engine.kind, &json).map_err(|error| api.unusable(error))
}

/// The daemon, as the reader sees it.
struct Peer<S> {
    input: tokio::io::ReadHalf<S>,
    output: tokio::io::WriteHalf<S>,
    /// How many new lists it has wanted.
    again: u64,
}

impl<S: AsyncRead + AsyncWrite> Peer<S> {
    /// The engine that it wants to know about; `None` when it goes without having asked.
    async fn question(&mut self) -> io::Result<Option<Engine>> {
        let mut said = Vec::new();
        let line = loop {
            let mut bytes = [0; QUESTION_BYTES];
            let count = self.input.read(&mut bytes).await?;
            if count == 0 {
                return Ok(None);
            }
            said.extend(bytes.iter().take(count));
            if let Some(end) = said.iter().position(|byte| *byte == b'\n') {
                self.count(said.get(end + 1..).unwrap_or_default());
                said.truncate(end);
                break said;
            }
            if said.len() > QUESTION_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        };
        Ok(Some(serde_json::from_slice(&line)?))
    }

    /// Waits until it wants a new list; `false` when it goes. May be given up and called again.
    async fn wish(&mut self) -> io::Result<bool> {
        let mut bytes = [0; QUESTION_BYTES];
        let count = self.input.read(&mut bytes).await?;
        self.count(bytes.get(..count).unwrap_or_default());
        Ok(count > 0)
    }

    fn count(&mut self, bytes: &[u8]) {
        for _ in bytes.iter().filter(|byte| **byte == b'\n') {
            self.again += 1;
        }
    }

    async fn tell(&mut self, answer: Answer) -> io::Result<()> {
        let again = self.again;
        let line = report::line(&Report { again, answer })?;
        timeout(PEER_TIME, self.output.write_all(&line)).await?
    }
}

#[cfg(test)]
mod tests;
