//! A server that is no companion: real TLS, and then whatever a test makes it say.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use wslnet_link::{KeyPair, Pins, PublicKey};
use wslnet_protocol::header::{GENERATION, MEDIA_TYPE};
use wslnet_protocol::{
    Applied, ForwardSet, ForwardState, ForwardStatus, Problem, Renewed, SessionId, SessionOpened,
};

use crate::bench::key;

/// What arrives, and what is done about it.
type Manner = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and path.
    pub what: String,
    /// The headers, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, a while later.
    Late(Duration, Vec<u8>),
    /// These bytes, and then the end of the connection.
    Last(Vec<u8>),
    /// Nothing, for ever.
    Silence,
}

/// The running server. It ends when it is dropped.
#[derive(Debug)]
pub struct Fake {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its public key.
    pub key: PublicKey,
    connections: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Fake {
    /// Lets everybody in and answers each request in this manner.
    pub async fn start(manner: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let key = key();
        let tls = wslnet_link::server_config(&key, Arc::new(Everybody)).unwrap();
        Self::serve(&key, Some(tls), Arc::new(manner)).await
    }

    /// Lets nobody in.
    pub async fn start_closed() -> Self {
        let key = key();
        let tls = wslnet_link::server_config(&key, Arc::new(Nobody)).unwrap();
        Self::serve(&key, Some(tls), Arc::new(|_| Reply::Silence)).await
    }

    /// Takes connections and says nothing, not even in TLS.
    pub async fn start_mute() -> Self {
        Self::serve(&key(), None, Arc::new(|_| Reply::Silence)).await
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    async fn serve(key: &KeyPair, tls: Option<ServerConfig>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
        let (count, log) = (connections.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let acceptor = acceptor.clone();
                let (manner, log) = (manner.clone(), log.clone());
                tokio::spawn(async move {
                    let Some(acceptor) = acceptor else {
                        return forever(stream).await;
                    };
                    if let Ok(stream) = acceptor.accept(stream).await {
                        converse(stream, peer, &manner, &log).await;
                    }
                });
            }
        });
        Self {
            address,
            key: key.public(),
            connections,
            asked,
            task,
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(
    mut stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    manner: &Manner,
    log: &Mutex<Vec<Asked>>,
) {
    let mut unread = Vec::new();
    while let Some(mut asked) = read_request(&mut stream, &mut unread).await {
        asked.head.push_str(&format!("x-peer: {peer}\r\n"));
        log.lock().unwrap().push(asked.clone());
        let written = match manner(&asked) {
            Reply::Bytes(bytes) => stream.write_all(&bytes).await,
            Reply::Late(pause, bytes) => {
                tokio::time::sleep(pause).await;
                stream.write_all(&bytes).await
            }
            Reply::Last(bytes) => {
                let _sent = stream.write_all(&bytes).await;
                let _closed = stream.shutdown().await;
                return;
            }
            Reply::Silence => return forever(stream).await,
        };
        if written.and(stream.flush().await).is_err() {
            return;
        }
    }
}

async fn forever<T>(_kept: T) {
    std::future::pending().await
}

async fn read_request(stream: &mut TlsStream<TcpStream>, unread: &mut Vec<u8>) -> Option<Asked> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = unread
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .map(|at| at + 4)
        {
            let head = String::from_utf8_lossy(&unread[..end]).into_owned();
            let what = head.split(' ').take(2).collect::<Vec<_>>().join(" ");
            let head = head.to_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if unread.len() >= end + length {
                let body = unread[end..end + length].to_vec();
                unread.drain(..end + length);
                return Some(Asked { what, head, body });
            }
        }
        match stream.read(&mut chunk).await {
            Ok(length @ 1..) => unread.extend_from_slice(&chunk[..length]),
            Ok(0) | Err(_) => return None,
        }
    }
}

impl Asked {
    /// What a companion would answer if it granted everything.
    pub fn well_answered(&self) -> Vec<u8> {
        match self.what.as_str() {
            "POST /v1/session" => ok(&SessionOpened {
                session: SessionId(1),
                distro: "debian".to_owned(),
                companion: "0.1.0".to_owned(),
                peer: self.header("x-peer").parse().unwrap(),
                lease_ms: 15_000,
                renew_ms: 5_000,
                max_forwards: 1024,
            }),
            "PUT /v1/forwards" => ok(&Applied {
                generation: Some(self.header(GENERATION).parse().unwrap()),
                revision: 1,
                forwards: self
                    .set()
                    .forwards
                    .iter()
                    .map(|forward| active(forward.id))
                    .collect(),
            }),
            "POST /v1/renew" => ok(&Renewed {
                revision: 1,
                forwards: None,
            }),
            _ => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        }
    }

    /// The set that it carries.
    pub fn set(&self) -> ForwardSet {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        let line = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

/// A success.
pub fn ok(value: &impl serde::Serialize) -> Vec<u8> {
    answer(200, &serde_json::to_vec(value).unwrap())
}

/// A failure.
pub fn refusal(problem: &Problem) -> Vec<u8> {
    answer(problem.error.status(), &serde_json::to_vec(problem).unwrap())
}

/// An answer with any body.
pub fn answer(status: u16, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn active(id: wslnet_protocol::ForwardId) -> ForwardStatus {
    ForwardStatus {
        id,
        state: ForwardState::Active,
        reason: String::new(),
        listen: vec!["192.168.1.20:8000".parse().unwrap()],
    }
}

#[derive(Debug)]
struct Everybody;

impl Pins for Everybody {
    fn contains(&self, _: &PublicKey) -> bool {
        true
    }
}

#[derive(Debug)]
struct Nobody;

impl Pins for Nobody {
    fn contains(&self, _: &PublicKey) -> bool {
        false
    }
}
