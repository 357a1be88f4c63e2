//! The parser on golden bytes, on damaged ones, and on anything.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use nix::libc;
use proptest::prelude::*;

use super::*;

const SEQUENCE: u32 = 7;

#[test]
fn reads_a_golden_ipv4_listener() {
    let bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_v4());

    let (progress, sockets) = parsed(&bytes);

    assert_eq!(progress, Ok(Progress::More));
    assert_eq!(
        sockets,
        [Socket {
            protocol: Protocol::Tcp,
            address: "127.0.0.1:8080".parse().unwrap(),
            v6only: None,
            uid: 1000,
            inode: 4242,
            cookie: Some(0x0000_0002_0000_0001),
            interface: Some(3),
        }]
    );
    assert_eq!(sockets[0].id(), 0x0000_0002_0000_0001);
}

#[test]
fn reads_a_golden_ipv6_listener_with_v6only_after_an_odd_sized_attribute() {
    let mut socket = golden_v6();
    socket.extend([5, 0, 8, 0, 0xff, 0, 0, 0]); // one byte, padded to four
    socket.extend([5, 0, 11, 0, 1, 0, 0, 0]); // INET_DIAG_SKV6ONLY = 1
    let bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &socket);

    let (progress, sockets) = parsed(&bytes);

    assert_eq!(progress, Ok(Progress::More));
    assert_eq!(sockets[0].address, "[::1]:443".parse().unwrap());
    assert_eq!(sockets[0].v6only, Some(true));
    assert_eq!(sockets[0].interface, None);
}

#[test]
fn reads_all_messages_of_a_datagram_up_to_done() {
    let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_v4());
    bytes.extend(message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_v6()));
    bytes.extend(message(NLMSG_DONE, 2, SEQUENCE, &0_i32.to_ne_bytes()));

    let (progress, sockets) = parsed(&bytes);

    assert_eq!((progress, sockets.len()), (Ok(Progress::Done), 2));
}

#[test]
fn a_dump_that_was_interrupted_is_not_done() {
    let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2 | NLM_F_DUMP_INTR, SEQUENCE, &golden_v4());
    bytes.extend(message(NLMSG_DONE, 2, SEQUENCE, &0_i32.to_ne_bytes()));

    assert_eq!(parsed(&bytes).0, Ok(Progress::Interrupted));
    assert_eq!(
        parsed(&message(NLMSG_OVERRUN, 0, SEQUENCE, &[])).0,
        Ok(Progress::Interrupted)
    );
}

#[test]
fn errors_of_the_kernel_carry_their_number() {
    let busy = message(NLMSG_ERROR, 0, SEQUENCE, &(-libc::EBUSY).to_ne_bytes());
    let late = message(NLMSG_DONE, 2, SEQUENCE, &(-libc::ENOMEM).to_ne_bytes());

    assert_eq!(parsed(&busy).0, Ok(Progress::Failed(libc::EBUSY)));
    assert_eq!(parsed(&late).0, Ok(Progress::Failed(libc::ENOMEM)));
}

#[test]
fn messages_of_an_older_request_are_skipped() {
    let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE - 1, &golden_v4());
    bytes.extend(message(NLMSG_DONE, 2, SEQUENCE - 1, &0_i32.to_ne_bytes()));

    assert_eq!(parsed(&bytes), (Ok(Progress::More), vec![]));
}

#[test]
fn impossible_lengths_are_refused() {
    let mut too_long = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_v4());
    too_long[0] = 0xff;
    let mut too_small = too_long.clone();
    too_small[0..4].copy_from_slice(&3_u32.to_ne_bytes());
    let mut endless = golden_v6();
    endless.extend([0, 0, 1, 0]);

    assert_eq!(parsed(&too_long).0, Err(Malformed::Length));
    assert_eq!(parsed(&too_small).0, Err(Malformed::Length));
    assert_eq!(
        parsed(&message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &endless)).0,
        Err(Malformed::Length)
    );
    assert_eq!(
        parsed(&message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &[2; 40])).0,
        Err(Malformed::Short)
    );
}

#[test]
fn an_established_connection_is_not_a_listener() {
    let mut connection = golden_v4();
    connection[1] = 1;

    assert_eq!(
        parsed(&message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &connection)).1,
        []
    );
}

#[test]
fn reads_a_golden_udp_socket() {
    let bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_udp());

    let (progress, sockets) = parsed_as(Protocol::Udp, &bytes);

    assert_eq!(progress, Ok(Progress::More));
    assert_eq!(
        sockets,
        [Socket {
            protocol: Protocol::Udp,
            address: "127.0.0.1:8080".parse().unwrap(),
            v6only: None,
            uid: 1000,
            inode: 4242,
            cookie: Some(0x0000_0002_0000_0001),
            interface: Some(3),
        }]
    );
}

#[test]
fn a_udp_socket_with_a_peer_is_not_a_listener() {
    let mut connected = golden_udp();
    connected[1] = 1;
    let mut with_destination = golden_udp();
    with_destination[7] = 53;

    for socket in [connected, with_destination] {
        let bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &socket);
        assert_eq!(parsed_as(Protocol::Udp, &bytes), (Ok(Progress::More), vec![]));
    }
}

#[test]
fn what_listens_in_one_protocol_is_closed_in_the_other() {
    let tcp = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_v4());
    let udp = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_udp());

    assert_eq!(parsed_as(Protocol::Udp, &tcp).1, []);
    assert_eq!(parsed_as(Protocol::Tcp, &udp).1, []);
}

#[test]
fn the_request_asks_for_listeners_only() {
    for (protocol, number, states) in [(Protocol::Tcp, 6, 0x400), (Protocol::Udp, 17, 0x80)] {
        let bytes = request(protocol, AF_INET6, SEQUENCE);

        assert_eq!(u32::from_ne_bytes(bytes[0..4].try_into().unwrap()), 72);
        assert_eq!(bytes[16..18], [AF_INET6, number]);
        assert_eq!(u32::from_ne_bytes(bytes[20..24].try_into().unwrap()), states);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(protocol in protocol(), bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parsed_as(protocol, &bytes);
    }

    #[test]
    fn nothing_with_a_peer_or_in_another_state_is_a_listener(
        protocol in protocol(),
        state in any::<u8>(),
        peer_port in prop_oneof![Just(0), any::<u16>()],
    ) {
        let mut socket = golden_v4();
        socket[1] = state;
        socket[6..8].copy_from_slice(&peer_port.to_be_bytes());

        let (_, sockets) = parsed_as(protocol, &message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &socket));

        let listens = peer_port == 0 && state == number_and_state(protocol).1;
        prop_assert_eq!(sockets.len(), usize::from(listens));
        prop_assert!(sockets.iter().all(|socket| socket.protocol == protocol));
    }

    #[test]
    fn no_damage_to_a_real_dump_makes_it_panic(
        protocol in protocol(),
        damage in proptest::collection::vec((0_usize..500, any::<u8>()), 0..8),
        keep in 0_usize..500,
    ) {
        let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_v4());
        bytes.extend(message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &golden_udp()));
        let mut second = golden_v6();
        second.extend([5, 0, 11, 0, 1, 0, 0, 0]);
        bytes.extend(message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &second));
        bytes.extend(message(NLMSG_DONE, 2, SEQUENCE, &0_i32.to_ne_bytes()));
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(keep);

        let _ = parsed_as(protocol, &bytes);
    }
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)]
}

fn parsed(bytes: &[u8]) -> (Result<Progress, Malformed>, Vec<Socket>) {
    parsed_as(Protocol::Tcp, bytes)
}

fn parsed_as(protocol: Protocol, bytes: &[u8]) -> (Result<Progress, Malformed>, Vec<Socket>) {
    let mut sockets = Vec::new();
    let progress = parse(bytes, protocol, SEQUENCE, &mut sockets);
    (progress, sockets)
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(u32::try_from(HEADER_LEN + payload.len()).unwrap().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes.resize(align(bytes.len()), 0);
    bytes
}

/// 127.0.0.1:8080 of uid 1000, bound to interface 3, as a little-endian kernel writes it.
fn golden_v4() -> Vec<u8> {
    let mut bytes = vec![2, 10, 0, 0, 0x1f, 0x90, 0, 0, 127, 0, 0, 1];
    bytes.resize(40, 0);
    bytes.extend([3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
    bytes.resize(64, 0);
    bytes.extend([0xe8, 3, 0, 0, 0x92, 0x10, 0, 0]);
    bytes
}

/// The same as a UDP socket without a peer.
fn golden_udp() -> Vec<u8> {
    let mut bytes = golden_v4();
    bytes[1] = 7;
    bytes
}

/// [::1]:443 of root.
fn golden_v6() -> Vec<u8> {
    let mut bytes = vec![10, 10, 0, 0, 1, 0xbb, 0, 0];
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.resize(44, 0);
    bytes.extend([9, 0, 0, 0, 0, 0, 0, 0]);
    bytes.resize(64, 0);
    bytes.extend([0, 0, 0, 0, 0x93, 0x10, 0, 0]);
    bytes
}
