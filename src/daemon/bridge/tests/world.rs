//! A network namespace with the addresses of everybody, the task under test in it, and clients of its bridges.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bridge::{Bridge, BridgeState, BridgeStates, BridgeWants, spawn};
use crate::namespace::{in_namespace_with_runtime, ip};

const DEADLINE: Duration = Duration::from_secs(20);

pub(super) const VM: &str = "172.20.0.5";
pub(super) const WINDOWS: &str = "172.20.0.1";
pub(super) const CONTAINER: &str = "172.20.0.9";
pub(super) const VM6: &str = "fd00::5";
pub(super) const WINDOWS6: &str = "fd00::1";
pub(super) const SERVICE: &str = "127.0.0.1:5173";

/// The task under test, and what it was told so far.
pub(super) struct World {
    pub(super) wants: watch::Sender<BridgeWants>,
    pub(super) states: watch::Receiver<BridgeStates>,
    pub(super) stop: CancellationToken,
}

impl World {
    /// Changes what is wanted and returns what became of it. A marker, which is a bridge that can never be opened, tells
    /// the answer to this change from those to earlier ones.
    pub(super) async fn want(&mut self, change: impl FnOnce(&mut BridgeWants)) -> BridgeStates {
        let marker = self
            .wants
            .borrow()
            .bridges
            .keys()
            .next_back()
            .map_or(MARKER, |last| (*last).max(MARKER) + 1);
        self.wants.send_modify(|wants| {
            wants.bridges.retain(|id, _| *id < MARKER);
            change(wants);
            wants.bridges.insert(marker, bridge("0.0.0.0", 1, SERVICE));
        });
        let mut states = in_time(self.states.wait_for(|states| states.contains_key(&marker)))
            .await
            .unwrap()
            .clone();
        states.remove(&marker);
        states
    }

    /// Asks for a bridge and waits until it is open.
    pub(super) async fn open(&mut self, id: u64, bridge: Bridge) -> SocketAddr {
        self.want(|wants| {
            wants.bridges.insert(id, bridge);
        })
        .await;
        self.until_open(id).await
    }

    pub(super) async fn until_open(&mut self, id: u64) -> SocketAddr {
        let mut at = None;
        let open = |states: &BridgeStates| match states.get(&id) {
            Some(BridgeState::Open(address)) => {
                at = Some(*address);
                true
            }
            Some(BridgeState::Failed { .. }) | None => false,
        };
        in_time(self.states.wait_for(open)).await.unwrap();
        at.unwrap()
    }
}

/// Ids from here on are markers.
const MARKER: u64 = 1 << 32;

/// Runs a test in a namespace with all addresses and with Windows as the companion.
pub(super) fn in_world(test: impl AsyncFnOnce(World) + Send + 'static) {
    in_namespace_with_runtime(async move || {
        ip("link set lo up");
        for address in [VM, WINDOWS, CONTAINER] {
            ip(&format!("address add {address}/32 dev lo"));
        }
        for address in [VM6, WINDOWS6] {
            ip(&format!("address add {address}/128 dev lo nodad"));
        }
        let stop = CancellationToken::new();
        let (wants, states) = spawn(stop.clone());
        let mut world = World { wants, states, stop };
        world.want(|wants| wants.companion = Some(ip_of(WINDOWS))).await;
        test(world).await;
    });
}

pub(super) fn bridge(address: &str, port: u16, target: &str) -> Bridge {
    Bridge {
        address: ip_of(address),
        port,
        target: target.parse().unwrap(),
    }
}

pub(super) fn ip_of(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn reason(states: &BridgeStates, id: u64) -> &str {
    match &states[&id] {
        BridgeState::Failed { reason } => reason,
        BridgeState::Open(at) => panic!("{id} is open at {at}"),
    }
}

pub(super) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap()
}

/// A listener as most servers make it: with SO_REUSEADDR, and on a wildcard of IPv6 for IPv4 too.
pub(super) async fn listen(at: &str) -> TcpListener {
    TcpListener::bind(at).await.unwrap()
}

pub(super) async fn connect_from(source: &str, at: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if at.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.bind(SocketAddr::new(ip_of(source), 0))?;
    in_time(socket.connect(at)).await
}

/// A client from `source`, and the service's end of its connection.
pub(super) async fn connect(source: &str, at: SocketAddr, service: &TcpListener) -> (TcpStream, TcpStream) {
    let client = connect_from(source, at).await.unwrap();
    let (server, _) = in_time(service.accept()).await.unwrap();
    (client, server)
}

pub(super) async fn exchange(from: &mut TcpStream, to: &mut TcpStream) {
    let mut heard = [0; 5];
    in_time(from.write_all(b"hello")).await.unwrap();
    in_time(to.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"hello");
}

pub(super) async fn assert_reset(source: &str, at: SocketAddr) {
    match connect_from(source, at).await {
        Ok(mut client) => assert_cut(&mut client).await,
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{source}"),
    }
}

pub(super) async fn assert_cut(client: &mut TcpStream) {
    let end = in_time(client.read(&mut [0; 1]))
        .await
        .map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
}

pub(super) async fn assert_closed(at: SocketAddr) {
    let end = connect_from(WINDOWS, at).await.map_err(|error| error.kind());
    assert_eq!(end.unwrap_err(), ErrorKind::ConnectionRefused);
}
