//! The clients: the same code for every relay. All of it runs in threads of the client's network namespace.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::helper::service::{ANSWER, CHUNK, DOWNLOAD, ECHO, MESSAGE, OK, REQUEST, UPLOAD};

/// A connection that is silent for so long has failed.
const STALLED: Duration = Duration::from_secs(10);
/// Streams run for so long before their bytes count.
const RAMP: Duration = Duration::from_millis(300);
/// How many clients open new connections at once.
pub const CALLERS: usize = 4;

/// Who measures what stands at `address`. Makes connections, so it must be used within the client's namespace.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    pub address: SocketAddr,
    /// What the service sends, once around.
    pub noise: &'a [u8],
}

/// How long requests took, in microseconds.
pub type Microseconds = Vec<f64>;

impl Load<'_> {
    /// Whether the service answers through this relay: one new connection.
    pub fn answers(&self, nonce: u32) -> anyhow::Result<()> {
        let mut stream = self.connect()?;
        let request = request(ANSWER, nonce);
        stream.write_all(&request)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        ensure!(
            answer == [request, request].concat(),
            "{} bytes that are not the answer",
            answer.len()
        );
        Ok(())
    }

    /// Compares every byte of a transfer in each direction.
    pub fn compare(&self) -> anyhow::Result<()> {
        let length = 2 * self.noise.len();
        let expected = || self.noise.iter().copied().cycle().take(length);

        let mut stream = self.ask(DOWNLOAD, 0)?;
        let mut taken = vec![0; length];
        stream.read_exact(&mut taken).context("download")?;
        ensure!(
            taken.iter().copied().eq(expected()),
            "the download is not what was sent"
        );

        let mut stream = self.ask(UPLOAD, u32::try_from(length)?)?;
        stream
            .write_all(&expected().collect::<Vec<u8>>())
            .context("upload")?;
        let mut verdict = [0];
        stream.read_exact(&mut verdict).context("upload")?;
        ensure!(verdict[0] == OK, "the upload is not what was sent");
        Ok(())
    }

    /// Bytes a second that `streams` connections download together. Of each read the first bytes are compared.
    pub fn throughput(&self, streams: usize, time: Duration) -> anyhow::Result<f64> {
        let (bytes, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let connections: Result<Vec<TcpStream>, _> = (0..streams).map(|_| self.ask(DOWNLOAD, 0)).collect();
        let connections = connections?;
        std::thread::scope(|scope| {
            let readers: Vec<_> = connections
                .into_iter()
                .map(|stream| scope.spawn(|| self.download(stream, &bytes, &stop)))
                .collect();
            std::thread::sleep(RAMP);
            let (start, before) = (Instant::now(), bytes.load(Ordering::Relaxed));
            std::thread::sleep(time);
            let (took, after) = (start.elapsed(), bytes.load(Ordering::Relaxed));
            stop.store(true, Ordering::Relaxed);
            for reader in readers {
                let moved = reader.join().expect("no panic")?;
                ensure!(moved > 0, "one of {streams} streams moved nothing");
            }
            Ok((after - before) as f64 / took.as_secs_f64())
        })
    }

    fn download(&self, mut stream: TcpStream, bytes: &AtomicU64, stop: &AtomicBool) -> anyhow::Result<usize> {
        let mut buffer = vec![0; 2 * CHUNK];
        let mut moved = 0;
        while !stop.load(Ordering::Relaxed) {
            let length = stream.read(&mut buffer).context("download")?;
            if length == 0 {
                bail!("the download ended after {moved} bytes");
            }
            let at = moved % self.noise.len();
            let look = length.min(16).min(self.noise.len() - at);
            ensure!(
                buffer[..look] == self.noise[at..at + look],
                "foreign bytes after {moved}"
            );
            moved += length;
            bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
        Ok(moved)
    }

    /// How long small messages take there and back, one after the other on one connection.
    pub fn round_trips(&self, time: Duration) -> anyhow::Result<Microseconds> {
        let mut stream = self.ask(ECHO, 0)?;
        let (mut message, mut echo) = ([0; MESSAGE], [0; MESSAGE]);
        let mut took = Vec::new();
        let start = Instant::now();
        while start.elapsed() < time {
            message[..8].copy_from_slice(&(took.len() as u64).to_le_bytes());
            let sent = Instant::now();
            stream.write_all(&message)?;
            stream.read_exact(&mut echo)?;
            took.push(sent.elapsed().as_secs_f64() * 1e6);
            ensure!(echo == message, "another message came back");
        }
        Ok(took)
    }

    /// How long new connections take with one question and one answer, [`CALLERS`] at a time; and how many there were
    /// in a second.
    pub fn new_connections(&self, time: Duration) -> anyhow::Result<(f64, Microseconds)> {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|caller| {
                    scope.spawn(move || {
                        let mut took = Vec::new();
                        while start.elapsed() < time {
                            let nonce = u32::try_from(took.len() * CALLERS + caller)?;
                            let call = Instant::now();
                            self.answers(nonce)?;
                            took.push(call.elapsed().as_secs_f64() * 1e6);
                        }
                        anyhow::Ok(took)
                    })
                })
                .collect();
            let mut took = Vec::new();
            for caller in callers {
                took.extend(caller.join().expect("no panic")?);
            }
            Ok((took.len() as f64 / start.elapsed().as_secs_f64(), took))
        })
    }

    fn ask(&self, what: u8, argument: u32) -> anyhow::Result<TcpStream> {
        let mut stream = self.connect()?;
        stream.write_all(&request(what, argument))?;
        Ok(stream)
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALLED))?;
        stream.set_write_timeout(Some(STALLED))?;
        if stream.local_addr()? == self.address {
            // A port without a listener, and a client that happened to call from it.
            return Err(Error::from(ErrorKind::ConnectionRefused));
        }
        Ok(stream)
    }
}

fn request(what: u8, argument: u32) -> [u8; REQUEST] {
    let [a, b, c, d] = argument.to_le_bytes();
    [what, 0, 0, 0, a, b, c, d]
}
