//! A client that looks at a machine from outside: the judge of what is open.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::NetNs;
use super::wait::{check, eventually};

/// Somebody who stands in a network namespace.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its network.
    pub net: Arc<NetNs>,
}

impl Client {
    /// Stands in `net`.
    pub fn new(net: Arc<NetNs>) -> Self {
        Self { net }
    }

    /// Connects; reads and writes on it end after ten seconds.
    ///
    /// # Errors
    /// As the system says.
    pub fn connect(&self, address: &str, port: u16) -> std::io::Result<TcpStream> {
        let address = SocketAddr::new(ip(address), port);
        let stream = self
            .net
            .enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(2)))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    /// Sends, and reads until the other side ends.
    ///
    /// # Errors
    /// As the system says.
    pub fn ask(&self, address: &str, port: u16, question: &str) -> std::io::Result<String> {
        let mut stream = self.connect(address, port)?;
        stream.write_all(question.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Fetches a page by HTTP.
    ///
    /// # Errors
    /// As the system says, and `InvalidData` for any status but 200.
    pub fn fetch(&self, address: &str, port: u16, path: &str) -> std::io::Result<String> {
        let question = format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n");
        let answer = self.ask(address, port, &question)?;
        let bad = || Error::new(ErrorKind::InvalidData, answer.clone());
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
        if head.split(' ').nth(1) != Some("200") {
            return Err(bad());
        }
        Ok(body.to_owned())
    }

    /// Sends one datagram and waits for one from there, two seconds at most. Whether a UDP port is open cannot be seen
    /// otherwise: silence is what a server makes of a question that it does not understand, too.
    ///
    /// # Errors
    /// As the system says: `ConnectionRefused` where it was told that nobody is there, `WouldBlock` after silence.
    pub fn ask_udp(&self, address: &str, port: u16, question: &[u8]) -> std::io::Result<Vec<u8>> {
        let address = SocketAddr::new(ip(address), port);
        let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = self.net.enter(|| UdpSocket::bind(own))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.connect(address)?;
        socket.send(question)?;
        let mut answer = vec![0; usize::from(u16::MAX)];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }

    /// Which of these TCP ports accept a connection. An address that does not answer has none.
    pub fn open_among(&self, address: &str, ports: &[u16]) -> BTreeSet<u16> {
        self.scan(address, ports.iter().copied())
    }

    /// Which of all TCP ports accept a connection.
    ///
    /// # Panics
    /// When the address does not answer at all: then the scan would prove nothing.
    pub fn all_open(&self, address: &str) -> BTreeSet<u16> {
        let target = SocketAddr::new(ip(address), 1);
        let first = self
            .net
            .enter(|| TcpStream::connect_timeout(&target, Duration::from_secs(2)));
        let kind = first.as_ref().map_err(Error::kind);
        assert!(
            matches!(kind, Ok(_) | Err(ErrorKind::ConnectionRefused)),
            "{address} does not answer: {kind:?}"
        );
        self.scan(address, 1..=u16::MAX)
    }

    /// Waits until a port is open.
    #[track_caller]
    pub fn until_open(&self, limit: Duration, address: &str, port: u16) {
        eventually(limit, || {
            let open = self.open_among(address, &[port]);
            check(!open.is_empty(), || format!("{address}:{port} is closed"))
        });
    }

    /// Waits until a port is closed: refused, that is; silence proves nothing.
    #[track_caller]
    pub fn until_closed(&self, limit: Duration, address: &str, port: u16) {
        eventually(limit, || {
            let seen = self.connect(address, port).map_err(|error| error.kind());
            let refused = matches!(seen, Err(ErrorKind::ConnectionRefused));
            check(refused, || format!("{address}:{port}: {seen:?}"))
        });
    }

    fn scan(&self, address: &str, ports: impl Iterator<Item = u16> + Send) -> BTreeSet<u16> {
        let address = ip(address);
        self.net.enter(|| {
            ports
                .filter(|port| {
                    let target = SocketAddr::new(address, *port);
                    TcpStream::connect_timeout(&target, Duration::from_millis(500)).is_ok()
                })
                .collect()
        })
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP address")
}
