//! One TLS connection and the bytes on it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wslnet_link::KeyPair;
use wslnet_protocol::{ErrorCode, Problem};

use super::{Companion, Request, SOON};

/// A connection to a companion that sends whatever it is told to.
#[derive(Debug)]
pub struct Wire {
    tls: TlsStream<TcpStream>,
    unread: Vec<u8>,
}

/// An answer of the companion.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What a distro with this key would use.
pub fn client_config(companion: &Companion, key: &KeyPair) -> ClientConfig {
    wslnet_link::client_config(key, companion.key).unwrap()
}

/// A TCP connection that comes from the given address.
pub async fn connect_from(source: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(to).await
}

impl Wire {
    /// Connects as a distro with this key.
    pub async fn connect(companion: &Companion, key: &KeyPair) -> io::Result<Self> {
        let stream = TcpStream::connect(companion.address).await?;
        Self::over(stream, client_config(companion, key)).await
    }

    /// Makes the handshake on a connection. The client's part of it is over before the server has judged the client's
    /// key: a refusal comes with the first read.
    pub async fn over(stream: TcpStream, config: ClientConfig) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(wslnet_link::SERVER_NAME).unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Self {
            tls,
            unread: Vec::new(),
        })
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.write_all(bytes).await?;
        self.tls.flush().await
    }

    /// Sends a request and waits for its answer.
    pub async fn call(&mut self, request: &Request) -> io::Result<Answer> {
        self.send(&request.bytes()).await?;
        self.answer().await
    }

    /// Waits for one answer.
    pub async fn answer(&mut self) -> io::Result<Answer> {
        timeout(SOON, self.read_answer())
            .await
            .expect("an answer in time")
    }

    /// Waits until the companion ends the connection, and hands out what it sent before.
    pub async fn end(&mut self, limit: Duration) -> Vec<u8> {
        let rest = async { while self.read_more().await.is_ok() {} };
        timeout(limit, rest)
            .await
            .expect("the companion ends the connection in time");
        std::mem::take(&mut self.unread)
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < end + length {
            self.read_more().await?;
        }
        let body = self.unread[end..end + length].to_vec();
        self.unread.drain(..end + length);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answer { status, head, body })
    }

    async fn read_more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        match self.tls.read(&mut chunk).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.unread.extend_from_slice(&chunk[..length]);
                Ok(())
            }
        }
    }
}

impl Answer {
    /// The value of a success, or the problem.
    ///
    /// # Panics
    /// When the body is neither, or when a problem travels with another status than its own.
    #[expect(
        clippy::unwrap_in_result,
        reason = "the error is the companion's answer, not a failed test"
    )]
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Problem> {
        if self.status == 200 {
            return Ok(serde_json::from_slice(&self.body).unwrap());
        }
        Err(self.problem())
    }

    /// The problem.
    ///
    /// # Panics
    /// When the body is none, or when it travels with another status than its own.
    pub fn problem(&self) -> Problem {
        let problem: Problem = serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no problem ({error}): {self:?}"));
        assert_eq!(problem.error.status(), self.status, "{problem:?}");
        assert!(!problem.message.is_empty(), "{problem:?}");
        problem
    }

    /// The kind of the problem.
    pub fn code(&self) -> ErrorCode {
        self.problem().error
    }
}
