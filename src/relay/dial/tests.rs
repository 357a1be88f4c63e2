//! Dials to a target that leaves them without an answer. Sockets that give up early stand for those of Windows, which
//! send one SYN only.
#![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use socket2::Type;
use tokio::net::TcpListener;

use super::*;

/// An impatient socket gives up after so long, or when Linux next looks after it: a second after its SYN.
const PATIENCE: Duration = Duration::from_millis(100);
/// Room for two attempts and a part of the third.
const SHORT: Duration = Duration::from_millis(2500);
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_attempt_that_times_out_is_made_again_until_the_queue_has_room() {
    let target = Target::with_a_full_queue();
    let (gate, made) = (Permits::times(usize::MAX), Cell::new(0));
    let outbound = Arc::default();

    let (dialled, ()) = tokio::join!(
        dial_from(impatient(&made), target.address, &gate, LONG, &outbound),
        async {
            let start = Instant::now();
            while made.get() < 3 {
                assert!(start.elapsed() < LONG, "it was to be tried again");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            target.drain();
        }
    );

    let dialled = dialled.unwrap();
    assert_eq!(dialled.stream.peer_addr().unwrap(), target.address);
}

#[tokio::test]
async fn attempts_end_when_the_dial_has_taken_its_time() {
    let target = Target::with_a_full_queue();
    let (gate, made) = (Permits::times(usize::MAX), Cell::new(0));
    let outbound = Arc::default();

    let dialled = dial_from(impatient(&made), target.address, &gate, SHORT, &outbound).await;

    assert!(matches!(dialled, Err(DialError::TimedOut(timeout)) if timeout == SHORT));
    assert!(made.get() > 1, "it was to be tried again");
}

#[tokio::test]
async fn the_gate_is_asked_before_every_attempt() {
    let target = Target::with_a_full_queue();
    let (gate, made) = (Permits::times(2), Cell::new(0));

    let dialled = dial_from(impatient(&made), target.address, &gate, LONG, &Arc::default()).await;

    assert!(matches!(dialled, Err(DialError::NotPermitted(_))), "{dialled:?}");
    assert_eq!(made.get(), 2);
}

#[tokio::test]
async fn a_refusal_stands() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (gate, made) = (Permits::times(usize::MAX), Cell::new(0));

    let dialled = dial_from(impatient(&made), nobody, &gate, LONG, &Arc::default()).await;

    assert!(
        matches!(&dialled, Err(DialError::Connect(error)) if error.kind() == io::ErrorKind::ConnectionRefused),
        "{dialled:?}"
    );
    assert_eq!(made.get(), 1);
}

#[tokio::test]
async fn the_socket_has_the_options_of_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();

    let service = dial(target, &Permits::times(1), LONG, &Arc::default())
        .await
        .unwrap();

    options::assert_prepared(&socket2::SockRef::from(&service.stream));
}

/// Makes sockets that give up early, and counts them.
fn impatient(made: &Cell<usize>) -> impl Fn(SocketAddr) -> io::Result<Socket> {
    move |target| {
        made.set(made.get() + 1);
        let socket = new_socket(target)?;
        socket.set_tcp_user_timeout(Some(PATIENCE))?;
        Ok(socket)
    }
}

/// Permits everything, so many times.
#[derive(Debug)]
struct Permits(AtomicUsize);

impl Permits {
    fn times(times: usize) -> Self {
        Self(AtomicUsize::new(times))
    }
}

impl Gate for Permits {
    fn admits(&self, _client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        Ok(())
    }

    fn permits(&self, _target: SocketAddr) -> Result<(), String> {
        let left = self.0.load(Ordering::Relaxed);
        let less = left.checked_sub(1).ok_or("no more")?;
        self.0.store(less, Ordering::Relaxed);
        Ok(())
    }
}

/// A listening socket and what fills its queue.
struct Target {
    address: SocketAddr,
    listener: Socket,
    _queued: std::net::TcpStream,
}

impl Target {
    fn with_a_full_queue() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        // A queue of none holds one.
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let queued = std::net::TcpStream::connect(address).unwrap();
        Self {
            address,
            listener,
            _queued: queued,
        }
    }

    fn drain(&self) {
        self.listener.accept().unwrap();
    }
}
