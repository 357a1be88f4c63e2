//! Requests to an engine: `GET` over its Unix socket, within bounds of time and size.
//!
//! The sockets of users lie in folders of theirs, and the one who connects may go everywhere. So a socket is opened without
//! following links, must be the user's, and must be served by him. (A file system that he has mounted there denies all others
//! by itself, without asking him; fuse(4).)

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wslnet_console::text::clean;

use super::{Engine, EngineKind};

/// How long an engine may take to accept a connection and to begin an answer. Podman starts when somebody connects.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How much of an answer is taken from the socket at once, and how long its head may be, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;
/// How many characters are shown of what is wrong with an answer. It may quote the answer.
const SHOWN_CHARS: usize = 200;

/// Where the sockets of engines are.
#[derive(Clone, Debug)]
pub(crate) struct Sockets {
    /// The folder of the system.
    pub(crate) run: PathBuf,
    /// The folder with a folder for each user.
    pub(crate) users: PathBuf,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            run: "/run".into(),
            users: "/run/user".into(),
        }
    }
}

/// Why an engine said nothing of use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// There is no socket, or nobody behind it.
    #[error("cannot connect to {}: {source}; {remedy}", .path.display())]
    NotThere {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
        /// What to do.
        remedy: Remedy,
    },
    /// There is something else in its place.
    #[error("{} is not used: it is {what}", .path.display())]
    NotIts {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It does not answer everybody.
    #[error("{} answered with status {status}: it may not be asked by wslnetd", .path.display())]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// 401 or 403.
        status: StatusCode,
    },
    /// It is there and says nothing.
    #[error("{} did not answer within {ANSWER_TIME:?}", .0.display())]
    Slow(PathBuf),
    /// It says something else.
    #[error("the answer of {} cannot be used: {what}", .path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl ApiError {
    /// Whether it is of no use to wait for this engine.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::NotThere { .. } | Self::NotIts { .. } | Self::Forbidden { .. } => true,
            Self::Slow(_) | Self::Answer { .. } => false,
        }
    }
}

/// What to do where an engine cannot be connected to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remedy {
    engine: Engine,
    is_forbidden: bool,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Engine { kind, uid } = self.engine;
        match (kind, uid) {
            _ if self.is_forbidden => {
                f.write_str("wslnetd-engines.socket would ask for it: install and start it as README.md says")
            }
            (EngineKind::Docker, 0) => f.write_str("start it by `systemctl start docker`"),
            (EngineKind::Podman, 0) => f.write_str("start its API by `systemctl enable --now podman.socket`"),
            (EngineKind::Docker, uid) => write!(f, "user {uid} starts it by `systemctl --user start docker`"),
            (EngineKind::Podman, uid) => write!(
                f,
                "user {uid} starts its API by `systemctl --user enable --now podman.socket`"
            ),
        }
    }
}

/// The way to one engine.
#[derive(Clone, Debug)]
pub(super) struct Api {
    engine: Engine,
    /// The folder that is entered as it is.
    folder: PathBuf,
    /// The way to the socket below it.
    names: &'static [&'static str],
}

impl Api {
    pub(super) fn new(engine: Engine, sockets: &Sockets) -> Self {
        Self {
            engine,
            folder: match engine.uid {
                0 => sockets.run.clone(),
                uid => sockets.users.join(uid.to_string()),
            },
            names: match engine.kind {
                EngineKind::Docker => &["docker.sock"],
                EngineKind::Podman => &["podman", "podman.sock"],
            },
        }
    }

    /// Asks for something and hands out the answer as soon as it begins.
    ///
    /// # Errors
    /// When the engine cannot be asked, does not answer in time, or answers with anything but success.
    pub(super) async fn get(&self, query: &str) -> Result<Reply, ApiError> {
        match timeout(ANSWER_TIME, self.ask(query)).await {
            Ok(reply) => reply,
            Err(_) => Err(ApiError::Slow(self.path())),
        }
    }

    /// The whole of what it answers.
    ///
    /// # Errors
    /// As for [`Self::get`], and when the answer is longer or takes longer than it may.
    pub(super) async fn get_all(&self, query: &str, limit: usize) -> Result<Vec<u8>, ApiError> {
        let all = async {
            let mut reply = self.ask(query).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = reply.chunk().await? {
                if bytes.len() + chunk.len() > limit {
                    return Err(self.unusable(format!("it is longer than {limit} bytes")));
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes)
        };
        match timeout(ANSWER_TIME, all).await {
            Ok(bytes) => bytes,
            Err(_) => Err(ApiError::Slow(self.path())),
        }
    }

    /// An answer that was understood as HTTP and is of no use all the same.
    pub(super) fn unusable(&self, what: impl fmt::Display) -> ApiError {
        ApiError::Answer {
            path: self.path(),
            what: clean(what.to_string(), SHOWN_CHARS),
        }
    }

    async fn ask(&self, query: &str) -> Result<Reply, ApiError> {
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake::<_, String>(stream)
            .await
            .map_err(|error| self.unusable(error))?;
        let mut driver = JoinSet::new();
        driver.spawn(async {
            // What goes wrong shows in the answer.
            drop(connection.await);
        });
        let request = Request::get(query)
            .header(HOST, "localhost")
            .body(String::new())
            .map_err(|error| self.unusable(error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.unusable(error))?;
        let status = response.status();
        match status {
            StatusCode::OK => Ok(Reply {
                api: self.clone(),
                body: response.into_body(),
                _driver: driver,
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ApiError::Forbidden {
                path: self.path(),
                status,
            }),
            _ => Err(self.unusable(format!("status {status}"))),
        }
    }

    async fn connect(&self) -> Result<UnixStream, ApiError> {
        let not_there = |source: io::Error| {
            let path = self.path();
            if source.kind() == io::ErrorKind::WouldBlock {
                // Too many are waiting to be accepted already.
                return ApiError::Slow(path);
            }
            ApiError::NotThere {
                path,
                remedy: Remedy {
                    engine: self.engine,
                    is_forbidden: source.kind() == io::ErrorKind::PermissionDenied,
                },
                source,
            }
        };
        let not_its = |what| ApiError::NotIts {
            path: self.path(),
            what,
        };
        let to_file = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let folder = nix::fcntl::open(&self.folder, to_file | OFlag::O_DIRECTORY, Mode::empty())
            .map_err(|errno| not_there(errno.into()))?;
        // Not by openat2, which does this in one go: systemd's RestrictSUIDSGID= takes it away.
        let mut reached = folder;
        for name in self.names {
            reached = openat(&reached, *name, to_file | OFlag::O_NOFOLLOW, Mode::empty())
                .map_err(|errno| not_there(errno.into()))?;
            let about = fstat(&reached).map_err(|errno| not_there(errno.into()))?;
            match SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT {
                SFlag::S_IFSOCK if about.st_uid == self.engine.uid => {}
                SFlag::S_IFSOCK => return Err(not_its("another user's")),
                SFlag::S_IFLNK => return Err(not_its("a symbolic link, or behind one")),
                // Leads on, or fails at the next step.
                SFlag::S_IFDIR => {}
                _ => return Err(not_its("no socket")),
            }
        }
        // The very socket that was looked at, whatever has its name by now.
        let opened = Path::new("/proc/self/fd").join(reached.as_raw_fd().to_string());
        let stream = UnixStream::connect(opened).await.map_err(not_there)?;
        let server = stream.peer_cred().map_err(not_there)?.uid();
        if server != self.engine.uid {
            return Err(not_its("served by another user"));
        }
        Ok(stream)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.names.iter().collect::<PathBuf>())
    }
}

/// An answer that has begun. Dropping it ends the connection.
#[derive(Debug)]
pub(super) struct Reply {
    api: Api,
    body: Incoming,
    /// Moves the bytes.
    _driver: JoinSet<()>,
}

impl Reply {
    /// The next piece, of at most [`BUFFER_BYTES`]; `None` at the end. May be given up and called again.
    ///
    /// # Errors
    /// When the answer breaks off.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await;
            match frame.transpose().map_err(|error| self.api.unusable(error))? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(chunk) = frame.into_data() {
                        return Ok(Some(chunk));
                    }
                }
            }
        }
    }
}
