//! What a set opens on a network, over TCP and UDP, and where it ends up if somebody else has the port. Root makes the
//! networks.

mod networks;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use wslnet_link::KeyPair;
use wslnet_protocol::{
    Applied, Forward, ForwardSet, ForwardState, ForwardStatus, Mode, OpenSession, Protocol,
};

use self::networks::{Networks, WINDOWS_ON_LAN};
use crate::bench::{
    A_SECOND, Companion, SOON, Session, Wire, check, client_config, eventually, forward, hello, key,
};

#[test]
fn a_udp_forward_carries_questions_and_answers_until_it_goes() {
    Networks::run(async |networks| {
        let (debian, companion) = start(networks);
        let mut session = open(networks, &companion, &debian).await;
        networks.in_vm(|| echo(5300));

        let applied = session.put(1, &set([udp(5300)])).await.unwrap();

        assert_eq!(applied.forwards[0].state, ForwardState::Active, "{applied:?}");
        assert_eq!(applied.forwards[0].listen, [on_lan(5300)]);
        assert_eq!(ask(networks, 5300).await.unwrap(), "echo of hello");

        session.put(2, &set([])).await.unwrap();
        let gone = ask(networks, 5300).await.unwrap_err();
        assert_eq!(gone.kind(), std::io::ErrorKind::ConnectionRefused, "{gone}");
    });
}

#[test]
fn a_forward_whose_port_a_program_holds_says_who_and_gets_it_afterwards() {
    Networks::run(async |networks| {
        let (debian, companion) = start(networks);
        let mut session = open(networks, &companion, &debian).await;
        networks.in_vm(|| echo(8000));
        let program = networks.program_on_windows(8000);

        let applied = session.put(1, &set([udp(8000)])).await.unwrap();

        let status = &applied.forwards[0];
        assert_eq!(status.state, ForwardState::Conflict, "{status:?}");
        let held = format!("{} is held by {}", on_lan(8000), program.description());
        assert!(status.reason.contains(&held), "{status:?} instead of {held}");

        program.end();
        eventually(A_SECOND, async || {
            let applied = session.get().await.unwrap();
            check(applied.forwards[0].state == ForwardState::Active, || {
                format!("{applied:?}")
            })
        })
        .await;
        assert_eq!(ask(networks, 8000).await.unwrap(), "echo of hello");
    });
}

#[test]
fn a_forward_that_may_go_elsewhere_does_so_and_stays_there() {
    Networks::run(async |networks| {
        let (debian, companion) = start(networks);
        let mut session = open(networks, &companion, &debian).await;
        networks.in_vm(|| echo(8000));
        networks.in_vm(|| greet(8000));
        let program = networks.program_on_windows(8000);
        let wanted = || set([auto(forward(8000)), auto(udp(8000))]);

        let applied = session.put(1, &wanted()).await.unwrap();

        let moved = format!(
            "port 8000 was taken by {}; listens at 8001 instead",
            program.description()
        );
        for status in &applied.forwards {
            assert_eq!(
                (status.state, status.reason.as_str()),
                (ForwardState::Active, moved.as_str())
            );
            assert_eq!(status.listen, [on_lan(8001)]);
        }
        assert_eq!(ask(networks, 8001).await.unwrap(), "echo of hello");
        assert_eq!(listen(networks, 8001).await, "hello from the VM");
        let (status, list) = companion.report().await;
        assert_eq!((status.active, status.udp, status.moved), (2, 1, 2));
        let seen: Vec<_> = list
            .iter()
            .map(|row| (row.protocol, row.wanted, row.port))
            .collect();
        assert_eq!(seen, [(Protocol::Tcp, 8000, 8001), (Protocol::Udp, 8000, 8001)]);

        program.end();
        drop(session);
        let mut session = open(networks, &companion, &debian).await;
        let again = session.put(1, &wanted()).await.unwrap();
        assert!(ports(&again).iter().all(|port| *port == 8001), "{again:?}");

        session.put(2, &set([])).await.unwrap();
        let anew = session.put(3, &wanted()).await.unwrap();
        assert_eq!(ports(&anew), [8000, 8000], "{anew:?}");
        assert_eq!(ask(networks, 8000).await.unwrap(), "echo of hello");
    });
}

fn start(networks: &Networks) -> (KeyPair, Companion) {
    let debian = key();
    let companion = Companion::start_at(networks.windows_at_vm(), &[("debian", debian.public())]);
    (debian, companion)
}

/// A session as the VM opens it.
async fn open(networks: &Networks, companion: &Companion, key: &KeyPair) -> Session {
    let address = companion.address;
    let stream = networks.in_vm(|| TcpStream::connect(address).unwrap());
    stream.set_nonblocking(true).unwrap();
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let wire = Wire::over(stream, client_config(companion, key)).await.unwrap();
    let in_nat_mode = OpenSession {
        mode: Mode::Nat,
        ..hello()
    };
    Session::open_on(wire, &in_nat_mode).await.unwrap()
}

/// Answers every datagram.
fn echo(port: u16) {
    let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let answer = format!("echo of {}", String::from_utf8_lossy(&buffer[..length]));
            socket.send_to(answer.as_bytes(), from).unwrap();
        }
    });
}

/// Says something to every client, and is done with it.
fn greet(port: u16) {
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            client.unwrap().write_all(b"hello from the VM").unwrap();
        }
    });
}

/// What a UDP service on Windows' port answers to a client on the local network.
async fn ask(networks: &Networks, port: u16) -> std::io::Result<String> {
    let socket = networks.in_lan(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.connect(on_lan(port)).unwrap();
    blocking(move || {
        socket.set_read_timeout(Some(SOON))?;
        socket.send(b"hello")?;
        let mut buffer = [0; 1500];
        let length = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    })
    .await
}

/// What a TCP service on Windows' port says to a client on the local network.
async fn listen(networks: &Networks, port: u16) -> String {
    let mut client =
        networks.in_lan(|| TcpStream::connect_timeout(&on_lan(port), Duration::from_secs(10)).unwrap());
    blocking(move || {
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        said
    })
    .await
}

/// Beside the runtime, which has one thread: the companion runs on it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn set(forwards: impl IntoIterator<Item = Forward>) -> ForwardSet {
    ForwardSet {
        forwards: forwards.into_iter().collect(),
        revoked: Vec::new(),
    }
}

fn udp(port: u16) -> Forward {
    let mut forward = forward(port);
    forward.protocol = Protocol::Udp;
    // The id is the port elsewhere; a TCP forward may have the same one.
    forward.id.0 |= 1 << 16;
    forward
}

fn auto(forward: Forward) -> Forward {
    Forward {
        auto: true,
        ..forward
    }
}

/// The port of each forward, which listens at one.
fn ports(applied: &Applied) -> Vec<u16> {
    let port = |status: &ForwardStatus| status.listen.first().unwrap().port();
    applied.forwards.iter().map(port).collect()
}

fn on_lan(port: u16) -> SocketAddr {
    SocketAddr::from((WINDOWS_ON_LAN, port))
}
