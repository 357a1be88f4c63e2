//! A read that gets less than it asked for has emptied the socket, and epoll tells when there is more (epoll(7), question 9). To ask
//! once more would be one system call for every message in vain.

use std::io::{self, Read};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// See [`super::read_now`].
pub(super) fn read_now(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut all_there_is = None;
    let read = stream.try_io(Interest::READABLE, || {
        let read = (&*SockRef::from(stream)).read(buffer)?;
        if read == 0 || read == buffer.len() {
            return Ok(read);
        }
        all_there_is = Some(read);
        // For tokio, which waits for the next event then. One that has come since the socket was last found ready still counts.
        Err(io::ErrorKind::WouldBlock.into())
    });
    all_there_is.map_or(read, Ok)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_comes_after_a_short_read_is_told_of() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut writes = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (reads, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 8];

        for _ in 0..1000 {
            writes.write_all(b"ping").await.unwrap();
            reads.readable().await.unwrap();
            assert_eq!(read_now(&reads, &mut buffer).unwrap(), 4);
            let nothing = read_now(&reads, &mut buffer).unwrap_err();
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        }
        writes.write_all(b"in full and more").await.unwrap();
        reads.readable().await.unwrap();
        assert_eq!(read_now(&reads, &mut buffer).unwrap(), 8);
        assert_eq!(
            read_now(&reads, &mut buffer).unwrap(),
            8,
            "nobody has to wait for it"
        );
        drop(writes);
        reads.readable().await.unwrap();
        assert_eq!(read_now(&reads, &mut buffer).unwrap(), 0, "the end");
    }
}
