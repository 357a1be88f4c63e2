//! Keeps a [`NetworkView`] up to date with rtnetlink.
//!
//! Every message is only a hint: the answer is a new query of everything. A message tells too little anyway: the default
//! route vanishes without one when its address is removed or its link goes down, and does not come back with the link.
//! Lost messages (overrun) are one more hint, and a slow query every half minute is the safety net.

use std::io;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{NetworkView, query};

/// How long messages are collected before one query answers them all.
const COALESCE: Duration = Duration::from_millis(20);
/// Pause between queries when nothing seems to happen.
const SAFETY_NET: Duration = Duration::from_secs(30);
/// The kernel answers in well under a millisecond; an answer may be lost in an overrun.
const QUERY_LIMIT: Duration = Duration::from_secs(2);
/// Pauses before the connection is opened again; the last one repeats.
const REOPEN: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// The network could not be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No netlink socket.
    #[error("cannot open an rtnetlink socket")]
    Open(#[source] io::Error),
    /// The kernel refused to list links, addresses or routes.
    #[error("cannot ask the kernel for links, addresses and routes")]
    Query(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel did not answer in two seconds.
    #[error("the kernel does not answer rtnetlink requests")]
    Silent,
}

/// Watches the network namespace of the thread that opened it. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watcher {
    views: watch::Receiver<NetworkView>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Opens a connection and asks once, so that the first view is already true.
    ///
    /// Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// When rtnetlink does not work. Later failures are not errors: the watcher reconnects and keeps the last view.
    pub async fn open() -> Result<Self, WatchError> {
        let connection = Connection::open().map_err(WatchError::Open)?;
        let (sender, views) = watch::channel(ask(&connection.questions).await?);
        let task = tokio::spawn(keep_watching(connection, sender));
        Ok(Self { views, task })
    }

    /// The current view, and every later one that differs.
    pub fn views(&self) -> watch::Receiver<NetworkView> {
        self.views.clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows changes until nobody wants to know any more; reconnects when the connection is lost.
async fn keep_watching(mut connection: Connection, sender: watch::Sender<NetworkView>) {
    let mut failures = 0;
    loop {
        let reason = tokio::select! {
            reason = follow(&mut connection, &sender, &mut failures) => reason,
            () = sender.closed() => return,
        };
        tracing::warn!(reason = %reason, "lost the watch on addresses and routes, opening it again");
        connection = loop {
            let pause = REOPEN
                .get(failures)
                .or(REOPEN.last())
                .copied()
                .unwrap_or_default();
            failures += 1;
            sleep(pause).await;
            match Connection::open() {
                Ok(connection) => break connection,
                Err(error) => tracing::debug!(%error, "cannot open an rtnetlink socket"),
            }
        };
    }
}

/// Queries, then once more after each burst of messages. Comes back only when the connection is of no use any more.
async fn follow(
    connection: &mut Connection,
    sender: &watch::Sender<NetworkView>,
    failures: &mut usize,
) -> WatchError {
    loop {
        // Hints that are drained here came before the query, so the query answers them.
        connection.drain_hints();
        let view = match ask(&connection.questions).await {
            Ok(view) => view,
            Err(error) => return error,
        };
        *failures = 0;
        sender.send_if_modified(|last| {
            let changed = *last != view;
            *last = view;
            changed
        });
        match timeout(SAFETY_NET, connection.hints.next()).await {
            Ok(Some(())) => sleep(COALESCE).await,
            Ok(None) => return WatchError::Open(io::ErrorKind::ConnectionReset.into()),
            Err(_) => tracing::trace!("nothing heard from rtnetlink for a while, asking anyway"),
        }
    }
}

async fn ask(questions: &Handle) -> Result<NetworkView, WatchError> {
    match timeout(QUERY_LIMIT, query::view(questions)).await {
        Ok(answer) => answer.map_err(|error| WatchError::Query(Box::new(error))),
        Err(_) => Err(WatchError::Silent),
    }
}

/// One socket for messages and another for questions: an overrun of messages cannot swallow an answer.
struct Connection {
    hints: BoxStream<'static, ()>,
    questions: Handle,
    tasks: [JoinHandle<()>; 2],
}

impl Connection {
    fn open() -> io::Result<Self> {
        let (messages, _, hints) = rtnetlink::new_multicast_connection(&GROUPS)?;
        let (answers, questions, _) = rtnetlink::new_connection()?;
        Ok(Self {
            hints: hints.map(drop).boxed(),
            questions,
            tasks: [tokio::spawn(messages), tokio::spawn(answers)],
        })
    }

    fn drain_hints(&mut self) {
        while let Some(Some(())) = self.hints.next().now_or_never() {}
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests;
