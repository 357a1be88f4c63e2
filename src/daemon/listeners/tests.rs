//! Both sources against real sockets of this process, on loopback, with connections around them.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, sockopt};

use super::*;

mod udp;

#[test]
fn both_sources_see_the_same_listeners() {
    let fixture = Fixture::new();

    let by_diag = fixture.scan(SourceChoice::SockDiag);
    let by_procfs = fixture.scan(SourceChoice::Procfs);

    assert_eq!(by_diag.len(), fixture.listeners.len());
    assert_eq!(
        by_diag.iter().map(Known::of).collect::<BTreeSet<_>>(),
        fixture.expected()
    );
    assert_eq!(
        by_procfs.iter().map(Known::of).collect::<BTreeSet<_>>(),
        fixture.expected()
    );
}

#[test]
fn sock_diag_knows_v6only_and_gives_every_socket_its_own_identity() {
    let fixture = Fixture::new();

    let sockets = fixture.scan(SourceChoice::SockDiag);

    let ids: BTreeSet<u64> = sockets.iter().map(Socket::id).collect();
    assert_eq!(ids.len(), sockets.len());
    for (address, v6only) in &fixture.v6only {
        let socket = sockets.iter().find(|socket| socket.address == *address).unwrap();
        assert_eq!(socket.v6only, Some(*v6only), "{address}");
    }
    assert!(
        sockets
            .iter()
            .all(|socket| socket.address.is_ipv6() == socket.v6only.is_some())
    );
}

#[test]
fn ids_stay_the_same_from_scan_to_scan_and_change_with_the_socket() {
    for choice in [SourceChoice::SockDiag, SourceChoice::Procfs] {
        let mut scanner = Scanner::open(choice, UdpInterest::default()).unwrap();
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = first.local_addr().unwrap();

        let before = id_at(&mut scanner, address);
        let again = id_at(&mut scanner, address);
        drop(first);
        let gone = id_at(&mut scanner, address);
        let _second = listen(address, |_| {});
        let reopened = id_at(&mut scanner, address);

        assert!(before.is_some());
        assert_eq!(before, again, "{choice:?}");
        assert_eq!(gone, None, "{choice:?}");
        assert!(reopened.is_some() && reopened != before, "{choice:?}");
    }
}

#[test]
fn sock_diag_tells_the_interface_a_socket_is_bound_to() {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let socket = listen(address, |fd| {
        socket::setsockopt(fd, sockopt::BindToDevice, &"lo".into()).unwrap();
    });
    let lo = nix::net::if_::if_nametoindex("lo").unwrap();

    let sockets = Scanner::open(SourceChoice::SockDiag, UdpInterest::default())
        .unwrap()
        .scan()
        .unwrap();

    let found = sockets
        .iter()
        .find(|found| found.inode == inode(&socket))
        .unwrap();
    assert_eq!(found.interface, Some(lo));
}

#[test]
fn scans_are_sorted_and_auto_prefers_sock_diag() {
    let _fixture = Fixture::new();
    let mut scanner = Scanner::open(SourceChoice::Auto, UdpInterest::default()).unwrap();

    let sockets = scanner.scan().unwrap();

    assert_eq!(scanner.source_in_use(), Source::SockDiag);
    assert!(sockets.is_sorted_by_key(|socket| (socket.protocol, socket.address, socket.id())));
}

#[test]
fn loopback_and_wildcard_see_through_v4_mapped_addresses() {
    let loopback = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"];
    let wildcard = ["0.0.0.0:1", "[::]:1", "[::ffff:0.0.0.0]:1"];
    let neither = ["10.0.0.1:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"];

    assert!(
        loopback
            .iter()
            .all(|text| at(text).is_loopback() && !at(text).is_wildcard())
    );
    assert!(
        wildcard
            .iter()
            .all(|text| at(text).is_wildcard() && !at(text).is_loopback())
    );
    assert!(
        neither
            .iter()
            .all(|text| !at(text).is_wildcard() && !at(text).is_loopback())
    );
    assert_eq!(at("[::ffff:10.0.0.1]:1").canonical_ip().to_string(), "10.0.0.1");
}

/// What procfs can know of a socket.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

impl Known {
    fn of(socket: &Socket) -> Self {
        Self {
            address: socket.address,
            uid: socket.uid,
            inode: socket.inode,
        }
    }
}

/// Listeners of all kinds and some hundred established connections.
struct Fixture {
    listeners: Vec<OwnedFd>,
    v6only: Vec<(SocketAddr, bool)>,
    connections: Vec<TcpStream>,
}

impl Fixture {
    fn new() -> Self {
        let mut fixture = Self {
            listeners: Vec::new(),
            v6only: Vec::new(),
            connections: Vec::new(),
        };
        for text in ["0.0.0.0:0", "127.0.0.1:0", "127.0.0.99:0"] {
            fixture.listeners.push(listen(text.parse().unwrap(), |_| {}));
        }
        for (text, v6only) in [
            ("[::]:0", false),
            ("[::]:0", true),
            ("[::1]:0", true),
            ("[::ffff:127.0.0.1]:0", false),
        ] {
            let socket = listen(text.parse().unwrap(), |fd| {
                socket::setsockopt(fd, sockopt::Ipv6V6Only, &v6only).unwrap();
            });
            fixture.v6only.push((local_address(&socket), v6only));
            fixture.listeners.push(socket);
        }
        let first = listen((Ipv4Addr::LOCALHOST, 0).into(), reuse_port);
        let group = local_address(&first);
        fixture.listeners.push(first);
        for _ in 1..4 {
            fixture.listeners.push(listen(group, reuse_port));
        }
        for _ in 0..300 {
            fixture
                .listeners
                .push(listen((Ipv4Addr::LOCALHOST, 0).into(), |_| {}));
        }
        fixture.connect(200, (Ipv4Addr::LOCALHOST, 0).into());
        fixture.connect(100, (Ipv6Addr::LOCALHOST, 0).into());
        fixture
    }

    fn connect(&mut self, count: usize, address: SocketAddr) {
        let server = TcpListener::bind(address).unwrap();
        for _ in 0..count {
            self.connections
                .push(TcpStream::connect(server.local_addr().unwrap()).unwrap());
            self.connections.push(server.accept().unwrap().0);
        }
        self.listeners.push(server.into());
    }

    /// What a source sees of the sockets of this fixture; other tests have sockets too.
    fn scan(&self, choice: SourceChoice) -> Vec<Socket> {
        let listeners = self.listeners.iter().map(inode);
        let ours: BTreeSet<u64> = listeners.chain(self.connections.iter().map(inode)).collect();
        let mut sockets = Scanner::open(choice, UdpInterest::default())
            .unwrap()
            .scan()
            .unwrap();
        sockets.retain(|socket| ours.contains(&socket.inode));
        sockets
    }

    fn expected(&self) -> BTreeSet<Known> {
        let uid = nix::unistd::geteuid().as_raw();
        let known = |fd| Known {
            address: local_address(fd),
            uid,
            inode: inode(fd),
        };
        self.listeners.iter().map(known).collect()
    }
}

fn reuse_port(fd: &OwnedFd) {
    socket::setsockopt(fd, sockopt::ReusePort, &true).unwrap();
}

fn listen(address: SocketAddr, prepare: impl Fn(&OwnedFd)) -> OwnedFd {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    prepare(&fd);
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
    socket::listen(&fd, Backlog::MAXCONN).unwrap();
    fd
}

fn local_address(fd: &OwnedFd) -> SocketAddr {
    let address: SockaddrStorage = socket::getsockname(fd.as_raw_fd()).unwrap();
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => SocketAddr::new(v4.ip().into(), v4.port()),
        (_, Some(v6)) => SocketAddr::new(v6.ip().into(), v6.port()),
        _ => panic!("not an internet socket"),
    }
}

fn inode(fd: impl AsFd) -> u64 {
    nix::sys::stat::fstat(fd).unwrap().st_ino
}

fn id_at(scanner: &mut Scanner, address: SocketAddr) -> Option<u64> {
    scanner
        .scan()
        .unwrap()
        .iter()
        .find(|socket| socket.address == address)
        .map(Socket::id)
}

fn at(address: &str) -> Socket {
    let address = address.parse().unwrap();
    Socket {
        protocol: Protocol::Tcp,
        address,
        v6only: None,
        uid: 0,
        inode: 1,
        cookie: None,
        interface: None,
    }
}
