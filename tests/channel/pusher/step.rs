//! The pusher and a real companion stay in step, whatever happens to either.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use wslnet_daemon::push::{LinkState, Route};
use wslnet_protocol::{ForwardId, ForwardState, Mode};

use super::daemon::{Daemon, to};
use crate::bench::{A_SECOND, Companion, SOON, Session, check, eventually, key};

#[tokio::test]
async fn what_is_wanted_arrives_and_its_states_come_back() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut daemon = Daemon::start(&debian, companion.address, companion.key);

    daemon.want(&[8000]);
    let view = daemon.sees(SOON, |view| view.forwards.len() == 1).await;

    assert_eq!(view.state, LinkState::Connected);
    assert_eq!(view.distro.as_deref(), Some("debian"));
    assert_eq!(view.peer, Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(view.version.as_deref(), Some(wslnet_companion::VERSION));
    assert_eq!(
        (view.address, view.reason.as_str()),
        (Some(companion.address), "")
    );
    let state = &view.forwards[&ForwardId(8000)];
    assert_eq!(state.state, ForwardState::Denied);
    assert!(!state.reason.is_empty());
    daemon.want(&[8001, 9000]);
    ports_become(&companion, &[8001, 9000]).await;
    daemon.want(&[]);
    ports_become(&companion, &[]).await;
    daemon.sees(A_SECOND, |view| view.forwards.is_empty()).await;
    daemon.stop().await;
}

#[tokio::test]
async fn nothing_is_pushed_before_the_daemon_has_looked() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut predecessor = Session::open(&companion, &debian).await;
    predecessor.put(1, &crate::bench::set(&[8000])).await.unwrap();
    let mut daemon = Daemon::start(&debian, companion.address, companion.key);
    daemon.is_connected().await;

    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        let (status, list) = companion.report().await;
        assert_eq!(status.distros[0].generation, None);
        assert_eq!(list.len(), 1, "what the predecessor asked for stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    daemon.want(&[9000]);
    ports_become(&companion, &[9000]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_companion_that_restarts_has_everything_back_within_a_second() {
    let debian = key();
    let mut companion = Companion::start(&[("debian", debian.public())]);
    let mut daemon = Daemon::start(&debian, companion.address, companion.key);
    daemon.want(&[8000, 8001]);
    ports_become(&companion, &[8000, 8001]).await;

    for _ in 0..3 {
        companion.stop().await;
        companion.start_again();
        assert_eq!(companion.ports().await, [0; 0], "a new companion knows nothing");
        eventually(A_SECOND, async || {
            let ports = companion.ports().await;
            check(ports == [8000, 8001], || format!("{ports:?}"))
        })
        .await;
    }

    let view = daemon.is_connected().await;
    assert_eq!(view.reason, "");
    daemon.stop().await;
}

#[tokio::test]
async fn a_companion_that_is_away_for_a_while_is_found_within_a_second() {
    let debian = key();
    let mut companion = Companion::start(&[("debian", debian.public())]);
    let mut daemon = Daemon::start(&debian, companion.address, companion.key);
    daemon.want(&[8000]);
    ports_become(&companion, &[8000]).await;

    companion.stop().await;
    let away = daemon
        .sees(A_SECOND, |view| {
            view.state == LinkState::Connecting && !view.reason.is_empty()
        })
        .await;
    assert!(
        away.forwards.is_empty(),
        "nothing is said of forwards that are gone"
    );
    let refused = daemon
        .sees(SOON, |view| view.reason.contains("refused the connection"))
        .await;
    assert!(
        refused.reason.contains("start wslnet-companion"),
        "{}",
        refused.reason
    );
    // Long enough for the pauses to have grown to their limit.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    companion.start_again();

    eventually(A_SECOND, async || {
        let ports = companion.ports().await;
        check(ports == [8000], || format!("{ports:?}"))
    })
    .await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_stop_says_goodbye() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let daemon = Daemon::start(&debian, companion.address, companion.key);
    daemon.want(&[8000]);
    ports_become(&companion, &[8000]).await;

    daemon.stop().await;

    // At once: no grace, no lease.
    assert_eq!(companion.ports().await, [0; 0]);
    assert_eq!(companion.distros().await, [""; 0]);
}

#[tokio::test]
async fn a_stop_is_quick_when_nobody_is_there() {
    let (debian, nobody) = (key(), key());
    let mut companion = Companion::start(&[]);
    let address = companion.address;
    companion.stop().await;
    for paired in [false, true] {
        let mut daemon = Daemon::unpaired(&debian, address);
        if paired {
            daemon.trust(nobody.public());
        }
        daemon
            .sees(SOON, |view| !view.reason.contains("just started"))
            .await;

        let start = Instant::now();
        daemon.stop().await;

        assert!(start.elapsed() < A_SECOND, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_companion_that_moves_is_followed_at_once() {
    let debian = key();
    let former = Companion::start(&[("debian", debian.public())]);
    let next = Companion::start(&[("debian", debian.public())]);
    let mut daemon = Daemon::start(&debian, former.address, former.key);
    daemon.want(&[8000]);
    ports_become(&former, &[8000]).await;

    daemon.trust(next.key);
    daemon.route.send_replace(to(next.address, &[]));

    eventually(A_SECOND, async || {
        let ports = next.ports().await;
        check(ports == [8000], || format!("{ports:?}"))
    })
    .await;
    daemon
        .sees(A_SECOND, |view| view.address == Some(next.address))
        .await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_new_address_of_the_vm_means_a_new_session_at_once() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut daemon = Daemon::start(&debian, companion.address, companion.key);
    let ours = IpAddr::from(Ipv4Addr::LOCALHOST);
    let another = IpAddr::from([172, 28, 0, 9]);
    daemon.route.send_replace(to(companion.address, &[ours]));
    daemon.want(&[8000]);
    daemon.sees(SOON, |view| view.forwards.len() == 1).await;
    assert_eq!(generation(&companion).await, Some(1));
    daemon.want(&[8000, 8001]);
    ports_become(&companion, &[8000, 8001]).await;
    assert_eq!(generation(&companion).await, Some(2));

    // An address more changes nothing, the loss of the session's own does.
    daemon.route.send_replace(to(companion.address, &[ours, another]));
    daemon.want(&[8000]);
    ports_become(&companion, &[8000]).await;
    assert_eq!(generation(&companion).await, Some(3), "the same session goes on");
    daemon.route.send_replace(to(companion.address, &[another]));

    eventually(A_SECOND, async || {
        let generation = generation(&companion).await;
        check(generation == Some(1), || format!("{generation:?}"))
    })
    .await;
    assert_eq!(companion.ports().await, [8000]);
    daemon.is_connected().await;
    daemon.stop().await;
}

#[tokio::test]
async fn without_a_way_to_the_companion_the_reason_is_told_until_there_is_one() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut daemon = Daemon::start(&debian, companion.address, companion.key);
    daemon.is_connected().await;

    daemon.route.send_replace(Route {
        companion: None,
        mode: Mode::Nat,
        missing: "there is no default route".to_owned(),
        local: Default::default(),
    });
    let lost = daemon
        .sees(A_SECOND, |view| view.state == LinkState::Searching)
        .await;
    assert_eq!(lost.reason, "there is no default route");
    assert_eq!((lost.address, lost.peer), (None, None));

    daemon.route.send_replace(to(companion.address, &[]));
    daemon
        .sees(A_SECOND, |view| view.state == LinkState::Connected)
        .await;
    daemon.stop().await;
}

#[tokio::test]
async fn pairing_is_noticed_on_both_sides_without_a_restart() {
    let debian = key();
    let companion = Companion::start(&[]);
    let mut daemon = Daemon::unpaired(&debian, companion.address);
    daemon.want(&[8000]);

    let unpaired = daemon
        .sees(A_SECOND, |view| view.state == LinkState::Unpaired)
        .await;
    assert!(
        unpaired.reason.contains("`wslnetd trust KEY`"),
        "{}",
        unpaired.reason
    );
    daemon.trust(companion.key);
    let command = format!("`wslnet-companion trust NAME {}`", debian.public());
    let half = daemon.sees(SOON, |view| view.reason.contains(&command)).await;
    assert_eq!(half.state, LinkState::Unpaired);

    companion.trust("debian", debian.public());
    daemon.sees(SOON, |view| view.state == LinkState::Connected).await;
    ports_become(&companion, &[8000]).await;

    companion.untrust("debian");
    let again = daemon.sees(SOON, |view| view.reason.contains(&command)).await;
    assert_eq!(again.state, LinkState::Unpaired);
    daemon.stop().await;
}

#[tokio::test]
async fn two_daemons_with_copies_of_one_key_do_not_throw_each_other_out() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut original = Daemon::start(&debian, companion.address, companion.key);
    original.want(&[8000]);
    original.sees(SOON, |view| view.forwards.len() == 1).await;

    let mut copy = Daemon::copy(&debian, companion.address, companion.key);
    copy.want(&[9000]);
    let refused = copy
        .sees(SOON, |view| view.reason.contains("another distro has just used"))
        .await;

    assert!(refused.reason.contains("delete its key"), "{}", refused.reason);
    original.view.mark_unchanged();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        assert!(
            !original.view.has_changed().unwrap(),
            "{:?}",
            *original.view.borrow()
        );
        assert_eq!(companion.ports().await, [8000]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    copy.stop().await;
    original.stop().await;
}

async fn ports_become(companion: &Companion, expected: &[u16]) {
    eventually(SOON, async || {
        let ports = companion.ports().await;
        check(ports == expected, || format!("{ports:?}"))
    })
    .await;
}

async fn generation(companion: &Companion) -> Option<u64> {
    let (status, _) = companion.report().await;
    status.distros.first().and_then(|distro| distro.generation)
}
