//! The test bench: services, clients, gates, and waiting with a deadline.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use wslnet_relay::{Budget, Gate, Lanes, Limits, UdpForwarder};

/// Nothing here takes this long, unless it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Limits under which no flow falls silent before a test is over.
pub(crate) fn patient() -> Limits {
    Limits {
        flow_timeout: Duration::from_secs(600),
        unanswered_timeout: Duration::from_secs(600),
        ..Limits::default()
    }
}

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

/// A forward with one listening socket, and the service behind it.
pub(crate) struct Bench {
    pub(crate) forwarder: UdpForwarder,
    pub(crate) budget: Arc<Budget>,
    pub(crate) address: SocketAddr,
    pub(crate) service: UdpSocket,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with_limits(patient()).await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Self {
        Self::with(limits, Arc::new(Open), lanes()).await
    }

    pub(crate) async fn with_gate(gate: Arc<dyn Gate>) -> Self {
        Self::with(patient(), gate, lanes()).await
    }

    pub(crate) async fn with(limits: Limits, gate: Arc<dyn Gate>, lanes: &Lanes) -> Self {
        let service = UdpSocket::bind((loopback(8), 0)).await.unwrap();
        let budget = Budget::new(limits);
        let target = service.local_addr().unwrap();
        let mut forwarder = UdpForwarder::new(target, gate, Arc::clone(&budget), lanes);
        let address = forwarder.listen(listening()).unwrap();
        Self {
            forwarder,
            budget,
            address,
            service,
        }
    }

    /// A client whose flow was answered, and the address at which the service answers it.
    pub(crate) async fn connect(&self) -> (UdpSocket, SocketAddr) {
        let client = client(self.address).await;
        let flow = converse(&client, &self.service).await;
        (client, flow)
    }

    /// A client whose flow has yet to be answered, and the address at which the service may do so.
    pub(crate) async fn knock(&self) -> (UdpSocket, SocketAddr) {
        let client = client(self.address).await;
        client.send(b"knock").await.unwrap();
        let (said, flow) = hear(&self.service).await;
        assert_eq!(said, b"knock");
        (client, flow)
    }

    pub(crate) async fn until_deserted(&self) {
        until("all flows have ended", || {
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
pub(crate) fn forward(target: SocketAddr, budget: &Arc<Budget>) -> (UdpForwarder, SocketAddr) {
    let mut forwarder = UdpForwarder::new(target, Arc::new(Open), Arc::clone(budget), lanes());
    let address = forwarder.listen(listening()).unwrap();
    (forwarder, address)
}

pub(crate) fn listening() -> std::net::UdpSocket {
    std::net::UdpSocket::bind((loopback(7), 0)).unwrap()
}

/// An address where nobody is.
pub(crate) fn nobody() -> SocketAddr {
    let socket = std::net::UdpSocket::bind((loopback(9), 0)).unwrap();
    socket.local_addr().unwrap()
}

/// The address 127.0.0.`last`, where the many sockets of clients and of the relay get no port that another test has just
/// given up, and looks at. Wine binds there, but sends from 127.0.0.1 all the same: there it has to be that.
fn loopback(last: u8) -> Ipv4Addr {
    static ARE_APART: LazyLock<bool> = LazyLock::new(|| {
        let from = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        let to = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        to.set_read_timeout(Some(DEADLINE)).unwrap();
        from.send_to(b"where am I?", to.local_addr().unwrap()).unwrap();
        to.recv_from(&mut [0; 16]).unwrap().1 == from.local_addr().unwrap()
    });
    Ipv4Addr::new(127, 0, 0, if *ARE_APART { last } else { 1 })
}

pub(crate) async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// A client of `address`. Being connected, it hears nobody else.
pub(crate) async fn client(address: SocketAddr) -> UdpSocket {
    let client = socket().await;
    client.connect(address).await.unwrap();
    client
}

/// Whether the port at `address` can be had.
pub(crate) fn is_free(address: SocketAddr) -> bool {
    std::net::UdpSocket::bind(address).is_ok()
}

/// The next datagram, and where it comes from.
pub(crate) async fn hear(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut said = vec![0; 65_536];
    let (length, from) = in_time(socket.recv_from(&mut said)).await.unwrap();
    said.truncate(length);
    (said, from)
}

/// Both directions work, and nothing else has been said. Returns where the service saw the client.
pub(crate) async fn converse(client: &UdpSocket, service: &UdpSocket) -> SocketAddr {
    client.send(b"ping").await.unwrap();
    let (said, flow) = hear(service).await;
    assert_eq!(said, b"ping");
    service.send_to(b"pong", flow).await.unwrap();
    assert_eq!(hear(client).await.0, b"pong");
    flow
}

/// Answers everything with itself, for as long as the runtime lasts.
pub(crate) fn echo(service: UdpSocket) {
    tokio::spawn(async move {
        loop {
            let mut said = vec![0; 65_536];
            // Windows tells a socket of clients that are gone.
            if let Ok((length, from)) = service.recv_from(&mut said).await {
                let _gone = service.send_to(&said[..length], from).await;
            }
        }
    });
}

/// Waits until clients have been sent so much, and not more. It is counted a moment after they hear it.
pub(crate) async fn until_sent(forwarder: &UdpForwarder, bytes: u64) {
    until("all is counted", || forwarder.counters().bytes_out >= bytes).await;
    assert_eq!(forwarder.counters().bytes_out, bytes);
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
