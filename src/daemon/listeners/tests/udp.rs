//! UDP servers and clients, each test in a network namespace of its own: what a scan shows is then exactly what the test
//! has made.

use std::net::UdpSocket;
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::*;
use crate::namespace::{in_namespace, ip};

const SOURCES: [SourceChoice; 2] = [SourceChoice::SockDiag, SourceChoice::Procfs];
const DEADLINE: Duration = Duration::from_secs(20);

/// What somebody is interested in who shares every server.
fn servers() -> UdpInterest {
    UdpInterest {
        ports: Vec::new(),
        servers: true,
    }
}

fn named(port: u16) -> UdpInterest {
    UdpInterest {
        ports: vec![port..=port],
        servers: false,
    }
}

#[test]
fn both_sources_see_every_kind_of_server() {
    in_namespace(|| {
        ip("link set lo up");
        let sockets: Vec<OwnedFd> = [
            "0.0.0.0:5001",
            "127.0.0.1:5002",
            "[::1]:5003",
            "[::ffff:127.0.0.1]:5004",
        ]
        .map(|address| bind(address, |_| {}))
        .into();
        let only_v6 = bind("[::]:5005", |fd| v6only(fd, true));
        let dual = bind("[::]:5006", |fd| v6only(fd, false));
        let mut expected: BTreeSet<(SocketAddr, u64)> =
            sockets.iter().map(|fd| (local_address(fd), inode(fd))).collect();
        expected.extend([&only_v6, &dual].map(|fd| (local_address(fd), inode(fd))));

        for choice in SOURCES {
            let found = scan(choice, servers());
            let seen = found.iter().map(|socket| (socket.address, socket.inode));
            assert_eq!(seen.collect::<BTreeSet<_>>(), expected, "{choice:?}");
            assert!(
                found.iter().all(|socket| socket.protocol == Protocol::Udp),
                "{choice:?}"
            );
            assert!(
                found
                    .iter()
                    .all(|socket| socket.uid == nix::unistd::geteuid().as_raw())
            );
            assert!(found.is_sorted_by_key(|socket| (socket.address, socket.id())));
        }
        let by_diag = scan(SourceChoice::SockDiag, servers());
        let v6only = |fd| {
            by_diag
                .iter()
                .find(|socket| socket.inode == inode(fd))
                .unwrap()
                .v6only
        };
        assert_eq!(
            [v6only(&only_v6), v6only(&dual), v6only(&sockets[0])],
            [Some(true), Some(false), None]
        );
    });
}

#[test]
fn clients_are_not_seen() {
    in_namespace(|| {
        ip("link set lo up");
        let server = UdpSocket::bind("127.0.0.1:5001").unwrap();
        let connected = UdpSocket::bind("127.0.0.1:5002").unwrap();
        connected.connect(server.local_addr().unwrap()).unwrap();
        let chosen_for_it = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Never bound: the kernel chose its port when it sent.
        let unbound = socket::socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        let to: SockaddrStorage = server.local_addr().unwrap().into();
        socket::sendto(unbound.as_raw_fd(), b"?", &to, socket::MsgFlags::empty()).unwrap();
        let asked_for = named(local_address(&unbound).port());

        for choice in SOURCES {
            let found = scan(choice, servers());
            assert_eq!(inodes(&found), [inode(&server)], "{choice:?}");
            let found = scan(choice, asked_for.clone());
            assert_eq!(
                inodes(&found),
                [inode(&unbound)],
                "a port that is named counts: {choice:?}"
            );
            let found = scan(choice, named(5002));
            assert_eq!(found, [], "a peer is no server, whatever its port: {choice:?}");
        }
        drop(chosen_for_it);
    });
}

#[test]
fn the_range_of_client_ports_is_that_of_the_network_namespace() {
    in_namespace(|| {
        ip("link set lo up");
        let (low, high) = (
            UdpSocket::bind("127.0.0.1:5001").unwrap(),
            UdpSocket::bind("[::1]:40000").unwrap(),
        );
        let mut scanner = Scanner::open(SourceChoice::Auto, servers()).unwrap();

        assert_eq!(inodes(&scanner.scan().unwrap()), [inode(&low)]);
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "5000 6000").unwrap();
        scans_until(&mut scanner, |found| inodes(found) == [inode(&high)]);
    });
}

#[test]
fn every_socket_of_a_group_has_an_identity_that_lasts_as_long_as_the_socket() {
    for choice in SOURCES {
        in_namespace(move || {
            ip("link set lo up");
            let mut group: Vec<OwnedFd> = (0..3).map(|_| bind("127.0.0.1:5001", reuse_port)).collect();
            let mut scanner = Scanner::open(choice, named(5001)).unwrap();
            let ids = |found: &[Socket]| found.iter().map(Socket::id).collect::<BTreeSet<_>>();

            let first = ids(&scanner.scan().unwrap());
            let again = scanner.scan().unwrap();
            let gone = again
                .iter()
                .find(|socket| socket.inode == inode(&group[2]))
                .unwrap()
                .id();
            group.truncate(2);
            let left = scans_until(&mut scanner, |found| found.len() == 2);
            group.push(bind("127.0.0.1:5001", reuse_port));
            let reopened = scans_until(&mut scanner, |found| found.len() == 3);

            assert_eq!((first.len(), &first), (3, &ids(&again)), "{choice:?}");
            assert!(
                !ids(&left).contains(&gone) && !ids(&reopened).contains(&gone),
                "{choice:?}"
            );
            assert!(ids(&reopened).is_superset(&ids(&left)), "{choice:?}");
        });
    }
}

#[test]
fn sock_diag_tells_the_interface_a_udp_socket_is_bound_to() {
    in_namespace(|| {
        let socket = bind("0.0.0.0:5001", |fd| {
            socket::setsockopt(fd, sockopt::BindToDevice, &"lo".into()).unwrap();
        });
        let lo = nix::net::if_::if_nametoindex("lo").unwrap();

        let found = scan(SourceChoice::SockDiag, servers());

        assert_eq!(
            (inodes(&found), found[0].interface),
            (vec![inode(&socket)], Some(lo))
        );
    });
}

#[test]
fn udp_is_not_looked_at_without_interest_and_tcp_comes_first_with_it() {
    in_namespace(|| {
        ip("link set lo up");
        let udp = UdpSocket::bind("127.0.0.1:5001").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:5002").unwrap();

        for choice in SOURCES {
            let mut scanner = Scanner::open(choice, UdpInterest::default()).unwrap();
            assert!(scanner.udp.is_none(), "{choice:?}");
            assert_eq!(inodes(&scanner.scan().unwrap()), [inode(&tcp)], "{choice:?}");
            assert_eq!(
                inodes(&scan(choice, servers())),
                [inode(&tcp), inode(&udp)],
                "{choice:?}"
            );
        }
    });
}

#[test]
fn no_number_of_clients_hides_a_server() {
    in_namespace(|| {
        ip("link set lo up");
        let server = UdpSocket::bind("127.0.0.1:5001").unwrap();
        // More than the kernel puts into one answer.
        let clients = (0..500).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        let clients: Vec<UdpSocket> = clients.collect();

        for choice in SOURCES {
            assert_eq!(inodes(&scan(choice, servers())), [inode(&server)], "{choice:?}");
        }
        drop(clients);
    });
}

fn scan(choice: SourceChoice, interest: UdpInterest) -> Vec<Socket> {
    Scanner::open(choice, interest).unwrap().scan().unwrap()
}

/// Scans until one shows what it should: looks at UDP are up to a second apart.
fn scans_until(scanner: &mut Scanner, expected: impl Fn(&[Socket]) -> bool) -> Vec<Socket> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let found = scanner.scan().unwrap();
        if expected(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {found:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn bind(address: &str, prepare: impl Fn(&OwnedFd)) -> OwnedFd {
    let address: SocketAddr = address.parse().unwrap();
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket::socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
    prepare(&fd);
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
    fd
}

fn v6only(fd: &OwnedFd, only: bool) {
    socket::setsockopt(fd, sockopt::Ipv6V6Only, &only).unwrap();
}

fn inodes(found: &[Socket]) -> Vec<u64> {
    found.iter().map(|socket| socket.inode).collect()
}
