//! The test bench: services, clients, gates, and waiting with a deadline.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use wslnet_relay::{Budget, Forwarder, Gate, Lanes, Limits};

/// Nothing here takes this long, unless it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A gate that lets everything pass.
#[derive(Debug)]
pub(crate) struct Open;

impl Gate for Open {
    fn admits(&self, _client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        Ok(())
    }

    fn permits(&self, _target: SocketAddr) -> Result<(), String> {
        Ok(())
    }
}

/// A forward with one listener, and the service behind it.
pub(crate) struct Bench {
    pub(crate) forwarder: Forwarder,
    pub(crate) budget: Arc<Budget>,
    pub(crate) address: SocketAddr,
    pub(crate) service: TcpListener,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with_limits(Limits::default()).await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Self {
        Self::with(limits, Arc::new(Open), lanes()).await
    }

    pub(crate) async fn with(limits: Limits, gate: Arc<dyn Gate>, lanes: &Lanes) -> Self {
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let budget = Budget::new(limits);
        let target = service.local_addr().unwrap();
        let mut forwarder = Forwarder::new(target, gate, Arc::clone(&budget), lanes);
        let address = forwarder.listen(listening()).unwrap();
        Self {
            forwarder,
            budget,
            address,
            service,
        }
    }

    /// With room for `length` connections that nobody has accepted yet, at the relay and at the service. Where a burst
    /// finds the queue full, the system drops its packets, and the next try comes after seconds.
    #[cfg(unix)]
    pub(crate) async fn with_queues_of(length: i32) -> Self {
        let bench = Self::new().await;
        SockRef::from(&bench.service).listen(length).unwrap();
        let mut forwarder = bench.forwarder;
        forwarder
            .unlisten(bench.address, wslnet_relay::Connections::Drain)
            .await;
        let listener = listening();
        SockRef::from(&listener).listen(length).unwrap();
        let address = forwarder.listen(listener).unwrap();
        Self {
            forwarder,
            address,
            budget: bench.budget,
            service: bench.service,
        }
    }

    /// A client and the service's end of its connection.
    pub(crate) async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = client(self.address).await;
        let (service, _) = in_time(self.service.accept()).await.unwrap();
        (client, service)
    }

    pub(crate) async fn until_deserted(&self) {
        until("all connections have ended", || {
            self.forwarder.counters().connections == 0
        })
        .await;
    }
}

/// The threads that the forwards of most tests share.
pub(crate) fn lanes() -> &'static Lanes {
    static LANES: LazyLock<Lanes> = LazyLock::new(Lanes::default);
    &LANES
}

/// A forward to `target` that listens on a port of its own.
pub(crate) fn forward(target: SocketAddr, budget: &Arc<Budget>) -> (Forwarder, SocketAddr) {
    let mut forwarder = Forwarder::new(target, Arc::new(Open), Arc::clone(budget), lanes());
    let address = forwarder.listen(listening()).unwrap();
    (forwarder, address)
}

pub(crate) fn listening() -> std::net::TcpListener {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap()
}

pub(crate) async fn client(address: SocketAddr) -> TcpStream {
    in_time(TcpStream::connect(address)).await.unwrap()
}

/// Whether nobody listens at `address`.
pub(crate) async fn is_closed(address: SocketAddr) -> bool {
    in_time(TcpStream::connect(address))
        .await
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// An address where a dial neither succeeds nor fails: a queue of one that nobody empties. Lives as long as the value.
pub(crate) struct Mute {
    pub(crate) address: SocketAddr,
    listener: Socket,
    _queued: Vec<Socket>,
}

impl Mute {
    pub(crate) fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let queued = (0..8).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _under_way = socket.connect(&address);
            socket
        });
        Self {
            address: address.as_socket().unwrap(),
            _queued: queued.collect(),
            listener,
        }
    }

    /// Begins to take calls: those in the queue, and those that come.
    pub(crate) fn wake(self) -> TcpListener {
        self.listener.set_nonblocking(true).unwrap();
        TcpListener::from_std(self.listener.into()).unwrap()
    }
}

/// Ends a connection by a reset.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// What `stream` still says; it must end in order.
pub(crate) async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    in_time(stream.read_to_end(&mut said)).await.unwrap();
    said
}

/// What `stream` still says; it must end by a reset.
pub(crate) async fn rest_until_reset(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let end = in_time(stream.read_to_end(&mut said)).await;
    assert!(
        is_reset(&end.map(drop)).await,
        "ended in order after {} bytes",
        said.len()
    );
    said
}

/// Connects to `address` and is reset without having heard anything, perhaps before the connect returns.
pub(crate) async fn is_turned_away(address: SocketAddr) -> bool {
    let stream = in_time(TcpStream::connect(address)).await;
    let end = match stream {
        Ok(mut stream) => in_time(stream.read_u8()).await.map(|_said| ()),
        Err(error) => Err(error),
    };
    is_reset(&end).await
}

/// Whether a connection ended by a reset, as far as this system can tell.
pub(crate) async fn is_reset(end: &std::io::Result<()>) -> bool {
    let as_a_reset_looks_here = match end {
        Ok(()) => Ok(()),
        // No more than the end of the stream, for those that read a byte.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error.kind()),
    };
    as_a_reset_looks_here == Err(ErrorKind::ConnectionReset) || as_a_reset_looks_here == a_reset().await
}

/// What a reader sees of a reset on this system, without any relay. Wine shuts a socket down before it closes it, so
/// that an end of stream precedes every reset; there, "ended, and without an answer" is all that can be tested.
async fn a_reset() -> Result<(), ErrorKind> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut one = client(listener.local_addr().unwrap()).await;
    let (other, _) = in_time(listener.accept()).await.unwrap();
    reset(other);
    in_time(one.read_to_end(&mut Vec::new()))
        .await
        .map(drop)
        .map_err(|error| error.kind())
}

/// Exactly so many bytes.
pub(crate) async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut said = vec![0; length];
    in_time(stream.read_exact(&mut said)).await.unwrap();
    said
}

/// Bytes without a short period, so that a lost or doubled piece shows.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.unwrap()
}

pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
