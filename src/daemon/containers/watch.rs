//! The daemon's side: has a reader for each engine in demand, and gathers what they report.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::sync::CancellationToken;
use wslnet_console::text::clean;

use super::api::Sockets;
use super::reader;
use super::report::{self, Answer, REPORT_BYTES, Report};
use super::{Containers, Demand, Engine};

/// How many engines are followed at once, the system's first. The sockets of `wslnetd-engines.socket` are as many.
const ENGINES: usize = 8;
/// How long an engine is followed after the last listener of its went: containers are restarted.
const LINGER: Duration = Duration::from_secs(30);
/// How long the reader may take to accept a connection and to take a line.
const READER_TIME: Duration = Duration::from_secs(2);
/// How long the reader may take to answer a wish: longer than it gives the engine.
const WISH_TIME: Duration = Duration::from_secs(30);
/// Pauses after a reader ended; the last one repeats.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];
/// How much travels to a reader in this process before it has to be taken, in bytes.
const PIPE_BYTES: usize = 64 * 1024;
/// How many characters are shown of what is wrong with a report. It may quote the report.
const SHOWN_CHARS: usize = 200;

/// Where the engines and the reader are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The socket at which systemd starts a reader. Where it is missing, the engines are asked by this process, with the
    /// rights that it happens to have.
    pub reader: PathBuf,
    /// The sockets of the engines.
    pub(crate) sockets: Sockets,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            reader: "/run/wslnetd-engines.sock".into(),
            sockets: Sockets::default(),
        }
    }
}

/// Follows the engines in demand until `stop`. What is sent in is [`super::demand`] of the current listeners; what comes out
/// changes whenever a listener may have got another answer.
pub fn watch(
    places: Places,
    stop: CancellationToken,
) -> (watch::Sender<Demand>, watch::Receiver<Containers>) {
    let (demand, demanded) = watch::channel(Demand::new());
    let (heard, containers) = watch::channel(Containers::default());
    let supervisor = Supervisor {
        places: Arc::new(places),
        heard: Arc::new(heard),
        followed: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    tokio::spawn(supervisor.run(demanded, stop));
    (demand, containers)
}

struct Supervisor {
    places: Arc<Places>,
    heard: Arc<watch::Sender<Containers>>,
    followed: BTreeMap<Engine, Followed>,
    /// All of them end with this.
    tasks: JoinSet<()>,
}

/// An engine that is followed.
struct Followed {
    task: AbortHandle,
    /// From when on its answers count.
    since: watch::Sender<Instant>,
    /// When nothing was in demand any more.
    idle: Option<Instant>,
}

impl Supervisor {
    async fn run(mut self, mut demanded: watch::Receiver<Demand>, stop: CancellationToken) {
        loop {
            let idle = self.followed.values().filter_map(|followed| followed.idle).min();
            tokio::select! {
                changed = demanded.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let demand = demanded.borrow_and_update().clone();
                    self.meet(&demand, Instant::now());
                }
                () = until(idle.map(|idle| idle + LINGER)) => self.part(Instant::now()),
                Some(_) = self.tasks.join_next() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Follows what is in demand, as far as there is room.
    fn meet(&mut self, demand: &Demand, now: Instant) {
        let mut engines = demand.keys().copied().collect::<Vec<_>>();
        engines.sort_by_key(|engine| (engine.uid, engine.kind));
        let refused = engines.split_off(engines.len().min(ENGINES));
        for engine in &refused {
            self.leave(*engine);
        }
        for (engine, followed) in &mut self.followed {
            followed.idle = match demand.contains_key(engine) {
                true => None,
                false => followed.idle.or(Some(now)),
            };
        }
        for engine in engines {
            let since = demand.get(&engine).copied().map_or(now, Instant::from_std);
            self.follow(engine, since);
        }
        for engine in refused {
            let since = demand.get(&engine).copied().map_or(now, Instant::from_std);
            let text = format!("wslnetd asks {ENGINES} engines at once and no more");
            // Not as if it were absent: its containers may say `off`, or be opted out.
            hear(&self.heard, engine, since, Answer::Silent(text));
        }
        self.forget(|engine| demand.contains_key(engine));
    }

    fn follow(&mut self, engine: Engine, since: Instant) {
        if let Some(followed) = self.followed.get(&engine) {
            followed.since.send_if_modified(|before| {
                let is_newer = since > *before;
                *before = since.max(*before);
                is_newer
            });
            return;
        }
        let idle = self
            .followed
            .iter()
            .filter(|(_, followed)| followed.idle.is_some());
        let longest = idle
            .min_by_key(|(_, followed)| followed.idle)
            .map(|(engine, _)| *engine);
        if let Some(longest) = longest.filter(|_| self.followed.len() >= ENGINES) {
            self.leave(longest);
        }
        let (sender, receiver) = watch::channel(since);
        let follower = Follower {
            engine,
            places: Arc::clone(&self.places),
            heard: Arc::clone(&self.heard),
            since: receiver,
        };
        let followed = Followed {
            task: self.tasks.spawn(follower.run()),
            since: sender,
            idle: None,
        };
        self.followed.insert(engine, followed);
    }

    /// Lets go of what has not been in demand for long enough.
    fn part(&mut self, now: Instant) {
        let has_been_idle = |followed: &Followed| followed.idle.is_some_and(|idle| idle + LINGER <= now);
        let idle = self
            .followed
            .iter()
            .filter(|(_, followed)| has_been_idle(followed));
        for engine in idle.map(|(engine, _)| *engine).collect::<Vec<_>>() {
            tracing::debug!(%engine, "nothing listens for its containers any more");
            self.leave(engine);
        }
        self.forget(|_| false);
    }

    fn leave(&mut self, engine: Engine) {
        if let Some(followed) = self.followed.remove(&engine) {
            followed.task.abort();
        }
    }

    /// Forgets what engines said that are not followed, except for these.
    fn forget(&self, stays: impl Fn(&Engine) -> bool) {
        self.heard.send_if_modified(|heard| {
            heard.forget(|engine| self.followed.contains_key(engine) || stays(engine))
        });
    }
}

/// Follows one engine by one reader after the other.
struct Follower {
    engine: Engine,
    places: Arc<Places>,
    heard: Arc<watch::Sender<Containers>>,
    /// From when on the engine's answers count.
    since: watch::Receiver<Instant>,
}

impl Follower {
    async fn run(mut self) {
        let mut pauses = PAUSES.iter();
        loop {
            let mut has_reported = false;
            let ended = self.read(&mut has_reported).await;
            if has_reported {
                pauses = PAUSES.iter();
            }
            let reason = match ended {
                Ok(()) => "it ended".to_owned(),
                Err(error) => clean(error.to_string(), SHOWN_CHARS),
            };
            let text = format!(
                "no word from {}: {reason}; see `journalctl -u 'wslnetd-engines@*'`",
                self.places.reader.display()
            );
            hear(&self.heard, self.engine, Instant::now(), Answer::Silent(text));
            sleep(pauses.next().or(PAUSES.last()).copied().unwrap_or_default()).await;
        }
    }

    /// Has a reader, in its own process or in this one.
    async fn read(&mut self, has_reported: &mut bool) -> io::Result<()> {
        let connected = timeout(READER_TIME, UnixStream::connect(&self.places.reader)).await?;
        match connected {
            Ok(stream) => return self.converse(stream, has_reported).await,
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
        }
        let (ours, its) = duplex(PIPE_BYTES);
        let sockets = self.places.sockets.clone();
        let mut reader = JoinSet::new();
        reader.spawn(async move { reader::serve(its, &sockets).await });
        self.converse(ours, has_reported).await
    }

    /// Asks, and takes note of the reports until the reader ends.
    async fn converse(
        &mut self,
        stream: impl AsyncRead + AsyncWrite,
        has_reported: &mut bool,
    ) -> io::Result<()> {
        let (input, mut output) = split(stream);
        let mut reports = FramedRead::new(input, LinesCodec::new_with_max_length(REPORT_BYTES));
        let mut wish = Wish {
            number: 0,
            sent: Instant::now(),
            is_answered: false,
        };
        let question = report::line(&self.engine)?;
        timeout(READER_TIME, output.write_all(&question)).await??;
        let (since, heard) = (&mut self.since, &self.heard);
        loop {
            tokio::select! {
                is_wanted = async { since.wait_for(|since| *since > wish.sent).await.is_ok() }, if wish.is_answered => {
                    if !is_wanted {
                        return Ok(());
                    }
                    wish = Wish { number: wish.number + 1, sent: Instant::now(), is_answered: false };
                    timeout(READER_TIME, output.write_all(b"\n")).await??;
                }
                line = reports.next() => {
                    let Some(line) = line else { return Ok(()) };
                    let line = line.map_err(io::Error::other)?;
                    let Report { again, answer } = report::read(&line)?;
                    *has_reported = true;
                    // What it says unasked is newer than the last wish, but by how much cannot be known.
                    if again == wish.number {
                        wish.is_answered = true;
                        hear(heard, self.engine, wish.sent, answer);
                    }
                }
                () = sleep_until(wish.sent + WISH_TIME), if !wish.is_answered => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
}

/// A wish for a new list. One is under way at a time.
struct Wish {
    number: u64,
    sent: Instant,
    is_answered: bool,
}

/// There is no reader to have, or not for this user.
fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    matches!(error.kind(), ConnectionRefused | NotFound | PermissionDenied)
}

fn hear(heard: &watch::Sender<Containers>, engine: Engine, asked: Instant, answer: Answer) {
    heard.send_if_modified(|heard| {
        let before = heard.clone();
        heard.hear(engine, asked.into_std(), answer);
        *heard != before
    });
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
