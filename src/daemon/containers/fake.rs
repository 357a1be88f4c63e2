//! An engine for tests: answers on a Unix socket what it is told to, and misbehaves on request.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::api::Sockets;
use super::{Engine, EngineKind};

/// How an engine behaves towards one kind of request.
#[derive(Clone, Debug)]
pub(super) enum Manner {
    /// Answers with this body.
    Says(String),
    /// Answers with this status.
    Refuses(u16),
    /// Sends these bytes, and then closes the connection.
    Sends(Vec<u8>),
    /// Sends these bytes, and then the others again and again.
    Floods(Vec<u8>, Vec<u8>),
    /// Sends these bytes, and then says nothing.
    Hangs(Vec<u8>),
    /// Begins an answer, and sends one event each time that it is told to.
    Tells,
}

/// A running engine. It ends when this goes.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) engine: Engine,
    folder: Arc<TempDir>,
    manners: Arc<Mutex<Manners>>,
    news: watch::Sender<u64>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Manners {
    list: Manner,
    events: Manner,
    /// How often each was asked.
    asked: BTreeMap<&'static str, usize>,
}

/// The head of an answer without an end.
pub(super) const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

impl Fake {
    /// An engine of the user who runs the tests.
    pub(super) fn start(kind: EngineKind, list: Manner, events: Manner) -> Self {
        Self::start_in(Arc::new(folder()), kind, list, events)
    }

    /// The same beside another one.
    pub(super) fn start_in(folder: Arc<TempDir>, kind: EngineKind, list: Manner, events: Manner) -> Self {
        let engine = own(kind);
        let path = socket_path(&folder, engine);
        let listener = UnixListener::bind(path).expect("listen");
        let manners = Arc::new(Mutex::new(Manners {
            list,
            events,
            asked: BTreeMap::new(),
        }));
        let (news, heard) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&manners);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared), heard.clone()));
            }
        });
        Self {
            engine,
            folder,
            manners,
            news,
            _tasks: tasks,
        }
    }

    pub(super) fn sockets(&self) -> Sockets {
        sockets(&self.folder)
    }

    pub(super) fn folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.folder)
    }

    /// Answers differently from now on, without a word about it.
    pub(super) fn list(&self, manner: Manner) {
        self.manners.lock().expect("no panic").list = manner;
    }

    /// Tells that something happened.
    pub(super) fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// How often it was asked for its list.
    pub(super) fn lists(&self) -> usize {
        self.asked("list")
    }

    /// How often it was asked for its events.
    pub(super) fn follows(&self) -> usize {
        self.asked("events")
    }

    fn asked(&self, what: &str) -> usize {
        let manners = self.manners.lock().expect("no panic");
        manners.asked.get(what).copied().unwrap_or_default()
    }
}

/// A folder for sockets.
pub(super) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Where an engine's socket is.
pub(super) fn socket_path(folder: &TempDir, engine: Engine) -> std::path::PathBuf {
    let own = match engine.uid {
        0 => folder.path().to_path_buf(),
        uid => folder.path().join(uid.to_string()),
    };
    std::fs::create_dir_all(own.join("podman")).expect("a folder");
    own.join(match engine.kind {
        EngineKind::Docker => "docker.sock",
        EngineKind::Podman => "podman/podman.sock",
    })
}

pub(super) fn sockets(folder: &TempDir) -> Sockets {
    Sockets {
        run: folder.path().to_path_buf(),
        users: folder.path().to_path_buf(),
    }
}

/// The engine of the user who runs the tests.
pub(super) fn own(kind: EngineKind) -> Engine {
    Engine {
        kind,
        uid: nix::unistd::geteuid().as_raw(),
    }
}

/// Docker's list with one container that publishes a port.
pub(super) fn docker_list(name: &str, port: u16) -> Manner {
    Manner::Says(format!(
        r#"[{{"Id":"id of {name}","Names":["/{name}"],"Ports":[{{"PublicPort":{port},"Type":"tcp"}}]}}]"#
    ))
}

async fn serve(mut stream: UnixStream, manners: Arc<Mutex<Manners>>, mut news: watch::Receiver<u64>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).expect("a request");
    assert!(head.starts_with("GET "), "only GET is ever sent: {head}");
    let manner = {
        let mut manners = manners.lock().expect("no panic");
        let (what, manner) = match head.starts_with("GET /events") {
            true => ("events", manners.events.clone()),
            false => ("list", manners.list.clone()),
        };
        *manners.asked.entry(what).or_default() += 1;
        manner
    };
    // Whoever asked may have gone meanwhile.
    drop(behave(&mut stream, manner, &mut news).await);
}

async fn behave(
    stream: &mut UnixStream,
    manner: Manner,
    news: &mut watch::Receiver<u64>,
) -> std::io::Result<()> {
    match manner {
        Manner::Says(body) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body.as_bytes()).await
        }
        Manner::Refuses(status) => {
            let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await
        }
        Manner::Sends(bytes) => stream.write_all(&bytes).await,
        Manner::Floods(first, again) => {
            stream.write_all(&first).await?;
            loop {
                stream.write_all(&again).await?;
            }
        }
        Manner::Hangs(bytes) => {
            stream.write_all(&bytes).await?;
            std::future::pending().await
        }
        Manner::Tells => {
            news.mark_unchanged();
            stream.write_all(HEAD).await?;
            while news.changed().await.is_ok() {
                stream.write_all(b"3\r\n{}\n\r\n").await?;
            }
            Ok(())
        }
    }
}
