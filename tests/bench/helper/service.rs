//! The service behind every relay: it sends, takes, echoes or answers, as the first eight bytes of a connection ask it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Its name among the helpers.
pub const NAME: &str = "service";

/// How long a request is; the first byte says what is wanted.
pub const REQUEST: usize = 8;
/// Send noise until the connection ends.
pub const DOWNLOAD: u8 = b'D';
/// Take as much noise as the last four bytes say, compare it, answer `OK`, and close.
pub const UPLOAD: u8 = b'U';
/// Send back messages of [`MESSAGE`] bytes.
pub const ECHO: u8 = b'E';
/// Send the request back twice, and close.
pub const ANSWER: u8 = b'A';

/// What the service says of an upload that is right.
pub const OK: u8 = b'!';
/// The length of a message to be echoed, in bytes.
pub const MESSAGE: usize = 64;
/// How much is written at once, in bytes.
pub const CHUNK: usize = 128 << 10;
/// After so many bytes the noise begins again.
pub const PERIOD: usize = 8 * CHUNK;

/// [`PERIOD`] bytes without a shorter period, so that a lost, doubled or exchanged piece shows.
pub fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(PERIOD / 8).flatten().collect()
}

/// Serves at `port` of all IPv4 addresses.
pub fn run(port: u16) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let noise: Arc<[u8]> = noise().into();
    runtime.block_on(async {
        let listener = listen(port)?;
        loop {
            let (stream, _) = listener.accept().await?;
            let noise = Arc::clone(&noise);
            // The client sees a connection that ends early, and tells.
            tokio::spawn(async move { drop(serve(stream, &noise).await) });
        }
    })
}

/// A listener with room for many connections that nobody has accepted yet.
pub fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
    socket.listen(4096)
}

/// Serves one connection.
pub async fn serve(mut stream: TcpStream, noise: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = [0; REQUEST];
    stream.read_exact(&mut request).await?;
    match request[0] {
        DOWNLOAD => loop {
            for chunk in noise.chunks(CHUNK) {
                stream.write_all(chunk).await?;
            }
        },
        UPLOAD => {
            let length = u32::from_le_bytes([request[4], request[5], request[6], request[7]]);
            let mut taken = vec![0; usize::try_from(length).expect("fits")];
            stream.read_exact(&mut taken).await?;
            let is_right = taken.iter().eq(noise.iter().cycle().take(taken.len()));
            stream.write_all(&[if is_right { OK } else { b'?' }]).await
        }
        ECHO => {
            let mut message = [0; MESSAGE];
            loop {
                stream.read_exact(&mut message).await?;
                stream.write_all(&message).await?;
            }
        }
        ANSWER => stream.write_all(&[request, request].concat()).await,
        _ => Ok(()),
    }
}
