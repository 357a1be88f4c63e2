//! The program's side of the control endpoint.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Endpoint, MAX_CONNECTIONS, MAX_REQUEST_BYTES, PEER_TIMEOUT, Peer, platform};

/// Starts to listen at `endpoint`. What a dead process left there is replaced.
///
/// # Errors
/// `AddrInUse` when a living process listens there; else what the system says, with the path.
pub fn listen(endpoint: &Endpoint) -> io::Result<Listener> {
    Ok(Listener {
        inner: platform::Listener::bind(&endpoint.address)?,
        permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        peer_timeout: PEER_TIMEOUT,
    })
}

/// A listening control endpoint; dropping it ends the endpoint.
#[derive(Debug)]
pub struct Listener {
    inner: platform::Listener,
    permits: Arc<Semaphore>,
    peer_timeout: Duration,
}

impl Listener {
    /// The next connection, once fewer than [`MAX_CONNECTIONS`] are open. Safe to cancel.
    ///
    /// # Errors
    /// What the system says; the listener goes on.
    pub async fn accept(&mut self) -> io::Result<Connection> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, peer) = self.inner.accept().await?;
        Ok(Connection {
            stream: BufReader::new(stream),
            peer,
            peer_timeout: self.peer_timeout,
            _permit: permit,
        })
    }
}

/// Why a request or an answer did not get through.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The peer did nothing for too long.
    #[error("the peer took longer than {0:?}")]
    TimedOut(Duration),
    /// The request is longer than [`MAX_REQUEST_BYTES`].
    #[error("the request is longer than {MAX_REQUEST_BYTES} bytes")]
    TooLong,
    /// The peer left without a whole request.
    #[error("the peer left before its request was complete")]
    Incomplete,
    /// The request is not what was expected.
    #[error("cannot understand the request")]
    Malformed(#[source] serde_json::Error),
    /// The answer cannot be written as JSON.
    #[error("cannot put the answer into JSON")]
    Unwritable(#[source] serde_json::Error),
    /// The connection failed.
    #[error("the connection to the peer failed")]
    Broken(#[source] io::Error),
}

/// One connection: one request, one answer.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<platform::ServerStream>,
    peer: Peer,
    peer_timeout: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Who is asking.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Reads the request.
    ///
    /// # Errors
    /// A peer that is slow, long-winded, gone or not understood. An answer can still be sent.
    pub async fn request<T: DeserializeOwned>(&mut self) -> Result<T, ServeError> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stream).take(MAX_REQUEST_BYTES as u64);
        timeout(self.peer_timeout, bounded.read_until(b'\n', &mut line))
            .await
            .map_err(|_elapsed| ServeError::TimedOut(self.peer_timeout))?
            .map_err(ServeError::Broken)?;
        if line.last() != Some(&b'\n') {
            return Err(if line.len() >= MAX_REQUEST_BYTES {
                ServeError::TooLong
            } else {
                ServeError::Incomplete
            });
        }
        serde_json::from_slice(&line).map_err(ServeError::Malformed)
    }

    /// Sends the answer and closes.
    ///
    /// # Errors
    /// A peer that is slow or gone, or an answer that JSON cannot express.
    pub async fn answer<T: Serialize + ?Sized>(mut self, answer: &T) -> Result<(), ServeError> {
        let mut line = serde_json::to_vec(answer).map_err(ServeError::Unwritable)?;
        line.push(b'\n');
        let write = async {
            self.stream.write_all(&line).await?;
            self.stream.flush().await?;
            self.stream.shutdown().await
        };
        timeout(self.peer_timeout, write)
            .await
            .map_err(|_elapsed| ServeError::TimedOut(self.peer_timeout))?
            .map_err(ServeError::Broken)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use std::time::{Duration, Instant};

    use serde_json::{Value, json};
    use tokio::io::AsyncWriteExt;

    use super::super::{Endpoint, MAX_CONNECTIONS, MAX_REQUEST_BYTES, call, platform};
    use super::{Listener, ServeError, listen};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn endpoint() -> (tempfile::TempDir, Endpoint) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let endpoint = Endpoint::in_run_dir(dir.path(), "testd");
        (dir, endpoint)
    }

    async fn connect(endpoint: &Endpoint) -> platform::ClientStream {
        platform::connect(&endpoint.address).await.expect("connected")
    }

    async fn refused(listener: &mut Listener) -> ServeError {
        let mut connection = listener.accept().await.expect("accepted");
        connection.request::<Value>().await.expect_err("refused")
    }

    #[tokio::test]
    async fn a_request_gets_its_answer() {
        let (_dir, endpoint) = endpoint();
        let mut listener = listen(&endpoint).expect("listening");
        let serve = async {
            let mut connection = listener.accept().await.expect("accepted");
            let peer = connection.peer();
            let asked: Value = connection.request().await.expect("request");
            connection
                .answer(&json!({ "asked": asked }))
                .await
                .expect("answered");
            peer
        };

        let asked = json!({ "verb": "status", "text": "a\nb" });
        let (peer, answer) = tokio::join!(serve, call::<_, Value>(&endpoint, &asked, PATIENCE));

        assert!(peer.privileged, "the same user is privileged");
        assert_eq!(answer.expect("answer"), json!({ "asked": asked }));
    }

    #[tokio::test]
    async fn a_large_answer_arrives_whole() {
        let (_dir, endpoint) = endpoint();
        let mut listener = listen(&endpoint).expect("listening");
        let large = "x".repeat(3 << 20);
        let serve = async {
            let mut connection = listener.accept().await.expect("accepted");
            connection.request::<Value>().await.expect("request");
            connection.answer(&large).await.expect("answered");
        };

        let ((), answer) = tokio::join!(serve, call::<_, String>(&endpoint, &1, PATIENCE));

        assert_eq!(answer.expect("answer"), large);
    }

    #[tokio::test]
    async fn what_is_no_request_is_told_apart() {
        let (_dir, endpoint) = endpoint();
        let mut listener = listen(&endpoint).expect("listening");

        let mut peer = connect(&endpoint).await;
        peer.write_all(b"{\"a\"\n").await.expect("sent");
        assert!(matches!(refused(&mut listener).await, ServeError::Malformed(_)));

        let mut peer = connect(&endpoint).await;
        peer.write_all(b"{}").await.expect("sent");
        drop(peer);
        let left = refused(&mut listener).await;
        assert!(
            matches!(left, ServeError::Incomplete | ServeError::Broken(_)),
            "{left:?}"
        );

        let mut peer = connect(&endpoint).await;
        let flood = tokio::spawn(async move { peer.write_all(&vec![b' '; MAX_REQUEST_BYTES + 1]).await });
        assert!(matches!(refused(&mut listener).await, ServeError::TooLong));
        flood.abort();
    }

    #[tokio::test]
    async fn a_silent_peer_is_given_up() {
        let (_dir, endpoint) = endpoint();
        let mut listener = listen(&endpoint).expect("listening");
        listener.peer_timeout = Duration::from_millis(50);
        let _peer = connect(&endpoint).await;

        let before = Instant::now();
        let left = refused(&mut listener).await;

        assert!(matches!(left, ServeError::TimedOut(_)), "{left:?}");
        assert!(before.elapsed() < PATIENCE);
    }

    #[tokio::test]
    async fn connections_are_bounded_and_go_on_when_one_ends() {
        let (_dir, endpoint) = endpoint();
        let mut listener = listen(&endpoint).expect("listening");
        let mut peers = Vec::new();
        let mut served = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            peers.push(connect(&endpoint).await);
            served.push(listener.accept().await.expect("accepted"));
        }
        let waiting = tokio::spawn({
            let endpoint = endpoint.clone();
            async move { call::<_, Value>(&endpoint, &1, PATIENCE).await }
        });

        let early = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(early.is_err(), "one connection too many");
        served.pop();
        let mut connection = listener.accept().await.expect("accepted");
        connection.request::<Value>().await.expect("request");
        connection.answer(&2).await.expect("answered");

        assert_eq!(waiting.await.expect("joined").expect("answer"), json!(2));
    }
}
