//! Examples for each rule of the ledger. The model that holds it against random schedules is in `model`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;

use std::net::Ipv4Addr;

use wslnet_protocol::{Bind, ForwardId, Protocol, Reach};

use super::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 20, 0, 2));

#[test]
fn the_newest_session_wins_and_its_predecessor_is_to_be_closed() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    put(&mut ledger, 1, 10, 1, &[(1, 8000)]).unwrap();

    let superseded = open(&mut ledger, "a", 2, 11).unwrap();

    assert_eq!(superseded, Some(ConnectionId(10)));
    assert_eq!(refusal(put(&mut ledger, 1, 10, 2, &[])), ErrorCode::StaleSession);
    assert_eq!(
        refusal(ledger.renew(SessionId(1), ConnectionId(10), at(1))),
        ErrorCode::StaleSession
    );
    assert_eq!(
        refusal(ledger.close(SessionId(1), ConnectionId(10))),
        ErrorCode::StaleSession
    );
    assert_eq!(owners(&ledger), [(8000, "a")]);
}

#[test]
fn a_connection_that_opens_again_is_not_to_be_closed() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();

    assert_eq!(open(&mut ledger, "a", 2, 10).unwrap(), None);
}

#[test]
fn a_session_speaks_on_its_own_connection_only() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    open(&mut ledger, "b", 2, 11).unwrap();

    assert_eq!(
        refusal(put(&mut ledger, 1, 11, 1, &[(1, 8000)])),
        ErrorCode::StaleSession
    );
    assert_eq!(ledger.distro_of(SessionId(1), ConnectionId(10)).unwrap(), "a");
}

#[test]
fn generations_only_grow() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    put(&mut ledger, 1, 10, 0, &[(1, 8000)]).unwrap();
    put(&mut ledger, 1, 10, 5, &[(1, 8001)]).unwrap();

    assert_eq!(
        refusal(put(&mut ledger, 1, 10, 5, &[(1, 8002)])),
        ErrorCode::StaleGeneration
    );
    assert_eq!(
        refusal(put(&mut ledger, 1, 10, 4, &[(1, 8002)])),
        ErrorCode::StaleGeneration
    );
    assert_eq!(owners(&ledger), [(8001, "a")]);
}

#[test]
fn an_invalid_set_changes_nothing() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    put(&mut ledger, 1, 10, 1, &[(1, 8000)]).unwrap();

    assert_eq!(
        refusal(put(&mut ledger, 1, 10, 2, &[(1, 8001), (2, 8001)])),
        ErrorCode::Invalid
    );

    assert_eq!(owners(&ledger), [(8000, "a")]);
    put(&mut ledger, 1, 10, 2, &[(1, 8002)]).unwrap();
}

#[test]
fn another_protocol_version_is_refused() {
    let mut ledger = ledger();
    let request = OpenSession {
        protocol: VERSION + 1,
        ..request("boot", 1)
    };

    let refused = ledger.open("a", PEER, &request, SessionId(1), ConnectionId(10), at(0));

    assert_eq!(refusal(refused), ErrorCode::UnsupportedVersion);
    assert_eq!(ledger.sessions().count(), 0);
}

#[test]
fn hostile_texts_of_a_session_are_refused() {
    let mut ledger = ledger();
    let request = OpenSession {
        daemon: "\u{1b}[2J".into(),
        ..request("boot", 1)
    };

    let refused = ledger.open("a", PEER, &request, SessionId(1), ConnectionId(10), at(0));

    assert_eq!(refusal(refused), ErrorCode::Invalid);
}

#[test]
fn a_restarted_daemon_keeps_its_old_set_until_its_first_put() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    put(&mut ledger, 1, 10, 7, &[(1, 8000)]).unwrap();
    ledger.connection_lost(ConnectionId(10), at(1));

    ledger
        .open(
            "a",
            other_peer(),
            &request("boot", 1),
            SessionId(2),
            ConnectionId(11),
            at(3),
        )
        .unwrap();

    assert_eq!(owners(&ledger), [(8000, "a")]);
    assert_eq!(ledger.claims().distros["a"].peer, other_peer());
    assert_eq!(ledger.sessions().next().unwrap().generation, None);
    put(&mut ledger, 2, 11, 0, &[(2, 8001)]).unwrap();
    assert_eq!(owners(&ledger), [(8001, "a")]);
}

#[test]
fn a_set_lives_as_long_as_its_lease() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    put(&mut ledger, 1, 10, 1, &[(1, 8000)]).unwrap();
    ledger.renew(SessionId(1), ConnectionId(10), at(10)).unwrap();

    assert_eq!(ledger.next_deadline(), Some(at(25)));
    assert_eq!(ledger.expire(just_before(at(25))), []);
    assert_eq!(ledger.expire(at(25)), [("a".to_owned(), Some(ConnectionId(10)))]);
    assert_eq!(owners(&ledger), []);
    assert_eq!(ledger.next_deadline(), None);
    assert_eq!(
        refusal(ledger.renew(SessionId(1), ConnectionId(10), at(26))),
        ErrorCode::StaleSession
    );
}

#[test]
fn a_lost_connection_leaves_the_grace_and_never_more_than_the_lease() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    open(&mut ledger, "b", 2, 11).unwrap();

    ledger.connection_lost(ConnectionId(10), at(2));
    ledger.connection_lost(ConnectionId(11), at(14));

    assert_eq!(ledger.next_deadline(), Some(at(5)));
    assert_eq!(ledger.expire(at(5)), [("a".to_owned(), None)]);
    assert_eq!(ledger.next_deadline(), Some(at(15)));
}

#[test]
fn the_loss_of_a_superseded_connection_means_nothing() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    open(&mut ledger, "a", 2, 11).unwrap();

    ledger.connection_lost(ConnectionId(10), at(1));

    assert!(ledger.sessions().next().unwrap().connected);
    assert_eq!(ledger.next_deadline(), Some(at(15)));
}

#[test]
fn nothing_is_taken_from_a_session_whose_connection_is_lost() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    ledger.connection_lost(ConnectionId(10), at(1));

    assert_eq!(
        refusal(put(&mut ledger, 1, 10, 1, &[(1, 8000)])),
        ErrorCode::StaleSession
    );
}

#[test]
fn a_goodbye_drops_the_set_at_once() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    put(&mut ledger, 1, 10, 1, &[(1, 8000)]).unwrap();

    ledger.close(SessionId(1), ConnectionId(10)).unwrap();

    assert_eq!(owners(&ledger), []);
    assert_eq!(ledger.sessions().count(), 0);
}

#[test]
fn a_distro_without_trust_is_dropped_with_its_connection() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    put(&mut ledger, 1, 10, 1, &[(1, 8000)]).unwrap();

    assert_eq!(ledger.forget("a"), Some(ConnectionId(10)));
    assert_eq!(ledger.forget("a"), None);
    assert_eq!(owners(&ledger), []);
}

#[test]
fn a_clone_is_refused_while_the_other_one_is_connected() {
    let mut ledger = ledger();
    let mut open = |boot, namespace, session, connection| {
        ledger.open(
            "a",
            PEER,
            &request(boot, namespace),
            SessionId(session),
            ConnectionId(connection),
            at(0),
        )
    };
    open("boot", 1, 1, 10).unwrap();

    assert_eq!(refusal(open("boot", 2, 2, 11)), ErrorCode::ClonedKey);
    // The same distro, and the distro after its VM restarted.
    assert_eq!(open("boot", 1, 3, 12).unwrap(), Some(ConnectionId(10)));
    assert_eq!(open("boot after", 2, 4, 13).unwrap(), Some(ConnectionId(12)));
    // Another namespace while the grace of a lost connection runs, and after it.
    ledger.connection_lost(ConnectionId(13), at(1));
    let mut open = |now| {
        ledger.expire(at(now));
        let request = request("boot after", 3);
        ledger.open("a", PEER, &request, SessionId(5), ConnectionId(14), at(now))
    };
    assert_eq!(refusal(open(2)), ErrorCode::ClonedKey);
    assert_eq!(open(60).unwrap(), None);
}

#[test]
fn the_first_claimant_keeps_a_port_and_the_next_takes_over() {
    let mut ledger = ledger();
    for (distro, number) in [("c", 1), ("b", 2), ("a", 3)] {
        open(&mut ledger, distro, number, u64::try_from(number).unwrap()).unwrap();
        put(
            &mut ledger,
            number,
            u64::try_from(number).unwrap(),
            1,
            &[(1, 8000)],
        )
        .unwrap();
    }
    assert_eq!(claimants(&ledger, 8000), ["c", "b", "a"]);

    // A new listener on the same port is the same claim; one that was away for a set is not.
    put(&mut ledger, 1, 1, 2, &[(9, 8000), (1, 8001)]).unwrap();
    put(&mut ledger, 2, 2, 2, &[]).unwrap();
    put(&mut ledger, 2, 2, 3, &[(1, 8000)]).unwrap();
    assert_eq!(claimants(&ledger, 8000), ["c", "a", "b"]);

    put(&mut ledger, 1, 1, 3, &[]).unwrap();
    assert_eq!(claimants(&ledger, 8000), ["a", "b"]);
}

#[test]
fn a_restart_of_the_daemon_keeps_the_rank() {
    let mut ledger = ledger();
    open(&mut ledger, "b", 1, 10).unwrap();
    put(&mut ledger, 1, 10, 1, &[(1, 8000)]).unwrap();
    open(&mut ledger, "a", 2, 11).unwrap();
    put(&mut ledger, 2, 11, 1, &[(1, 8000)]).unwrap();

    open(&mut ledger, "b", 3, 12).unwrap();
    put(&mut ledger, 3, 12, 1, &[(5, 8000)]).unwrap();

    assert_eq!(claimants(&ledger, 8000), ["b", "a"]);
}

#[test]
fn the_tail_over_the_limit_claims_nothing() {
    let mut ledger = ledger();
    ledger.set_terms(Terms {
        max_forwards: 2,
        ..TERMS
    });
    open(&mut ledger, "a", 1, 10).unwrap();
    put(&mut ledger, 1, 10, 1, &[(1, 9000), (2, 8000), (3, 7000)]).unwrap();
    open(&mut ledger, "b", 2, 11).unwrap();
    put(&mut ledger, 2, 11, 1, &[(1, 7000)]).unwrap();

    assert_eq!(owners(&ledger), [(7000, "b"), (8000, "a"), (9000, "a")]);
    assert_eq!(ledger.claims().distros["a"].over_limit[0].id, ForwardId(3));

    // A higher limit lets it in, behind those who came while it was out.
    ledger.set_terms(TERMS);
    assert_eq!(claimants(&ledger, 7000), ["b", "a"]);
}

#[test]
fn revoked_listeners_stay_with_the_distro() {
    let mut ledger = ledger();
    open(&mut ledger, "a", 1, 10).unwrap();
    let set = ForwardSet {
        forwards: vec![],
        revoked: vec![ForwardId(4)],
    };

    ledger.put(SessionId(1), ConnectionId(10), 1, set, at(0)).unwrap();

    assert_eq!(ledger.claims().distros["a"].revoked, [ForwardId(4)]);
}

#[test]
fn time_near_its_end_does_no_harm() {
    let mut ledger = ledger();
    let end = Awake::after_start(Duration::MAX);

    ledger
        .open("a", PEER, &request("boot", 1), SessionId(1), ConnectionId(1), end)
        .unwrap();

    assert_eq!(ledger.next_deadline(), Some(end));
}

const TERMS: Terms = Terms {
    lease: Duration::from_secs(15),
    grace: Duration::from_secs(3),
    max_forwards: 1024,
};

fn ledger() -> Ledger {
    Ledger::new(TERMS)
}

#[test]
fn a_session_comes_from_where_its_mode_says_or_not_at_all() {
    let (nat, shared) = ([Mode::Nat], [Mode::Mirrored, Mode::VirtioProxy]);
    let local = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"];
    let remote = [
        "172.20.0.2",
        "192.168.1.20",
        "fd00::2",
        "0.0.0.0",
        "169.254.169.254",
    ];
    let open = |mode: Mode, peer: &str| {
        let mut ledger = ledger();
        let request = OpenSession {
            mode,
            ..request("boot", 1)
        };
        let opened = ledger.open(
            "a",
            peer.parse().unwrap(),
            &request,
            SessionId(1),
            ConnectionId(10),
            at(0),
        );
        assert_eq!(ledger.sessions().count(), usize::from(opened.is_ok()));
        opened.map_err(|problem| problem.error)
    };

    for mode in nat {
        // Or else Windows' own loopback services would be dialled.
        local
            .iter()
            .for_each(|peer| assert_eq!(open(mode, peer), Err(ErrorCode::WrongMode), "{mode} {peer}"));
        remote
            .iter()
            .for_each(|peer| assert_eq!(open(mode, peer), Ok(None), "{mode} {peer}"));
    }
    for mode in shared {
        remote
            .iter()
            .for_each(|peer| assert_eq!(open(mode, peer), Err(ErrorCode::WrongMode), "{mode} {peer}"));
        local
            .iter()
            .for_each(|peer| assert_eq!(open(mode, peer), Ok(None), "{mode} {peer}"));
    }
}

fn at(seconds: u64) -> Awake {
    Awake::after_start(Duration::from_secs(seconds))
}

fn just_before(moment: Awake) -> Awake {
    moment.checked_sub(Duration::from_nanos(1)).unwrap()
}

fn other_peer() -> IpAddr {
    "172.20.0.3".parse().unwrap()
}

fn request(boot: &str, pid_namespace: u64) -> OpenSession {
    OpenSession {
        protocol: VERSION,
        boot_id: boot.into(),
        pid_namespace,
        mode: Mode::Nat,
        daemon: "0.1.0".into(),
    }
}

fn open(
    ledger: &mut Ledger,
    distro: &str,
    session: u128,
    connection: u64,
) -> Result<Option<ConnectionId>, Problem> {
    ledger.open(
        distro,
        PEER,
        &request("boot", 1),
        SessionId(session),
        ConnectionId(connection),
        at(0),
    )
}

fn put(
    ledger: &mut Ledger,
    session: u128,
    connection: u64,
    generation: u64,
    forwards: &[(u64, u16)],
) -> Result<(), Problem> {
    let set = ForwardSet {
        forwards: forwards.iter().map(|f| forward(f.0, f.1)).collect(),
        revoked: vec![],
    };
    ledger.put(
        SessionId(session),
        ConnectionId(connection),
        generation,
        set,
        at(0),
    )
}

fn forward(id: u64, port: u16) -> Forward {
    Forward {
        id: ForwardId(id),
        protocol: Protocol::Tcp,
        port,
        bind: Bind::Wildcard,
        listen_port: port,
        auto: false,
        loopback_gap: false,
        reach: Reach::Lan,
        name: None,
        labels: vec![],
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Problem>) -> ErrorCode {
    result.unwrap_err().error
}

fn owners(ledger: &Ledger) -> Vec<(u16, &str)> {
    ledger
        .claims()
        .ports
        .iter()
        .map(|(key, claims)| (key.port, claims[0].distro))
        .collect()
}

fn claimants(ledger: &Ledger, port: u16) -> Vec<&str> {
    ledger.claims().ports[&Key {
        protocol: Protocol::Tcp,
        port,
    }]
        .iter()
        .map(|claim| claim.distro)
        .collect()
}
