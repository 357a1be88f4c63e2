//! Servers that misbehave. Each ends in a reason that names a fix, and in attempts that the backoff bounds.

use std::time::Duration;

use wslnet_daemon::push::{CompanionView, LinkState};
use wslnet_protocol::{ErrorCode, Problem, limits};

use super::daemon::Daemon;
use super::fake::{Asked, Fake, Reply, answer, refusal};
use crate::bench::{SOON, check, eventually, key};

/// For how long attempts are counted.
const COUNTED: Duration = Duration::from_secs(3);
/// The shortest pauses, 160 ms, 320 ms and then 400 ms each, leave room for eight; pauses that do not grow, for fifteen.
const ATTEMPTS: usize = 9;

#[tokio::test]
async fn one_request_is_in_flight_and_what_changes_meanwhile_goes_with_the_next() {
    let pause = Duration::from_millis(300);
    let fake = Fake::start(move |asked| Reply::Late(pause, asked.well_answered())).await;
    let mut daemon = Daemon::start(&key(), fake.address, fake.key);
    daemon.is_connected().await;

    daemon.want(&[8000]);
    eventually(SOON, async || {
        check(sets(&fake).len() == 1, || format!("{:?}", sets(&fake)))
    })
    .await;
    for port in 9000..9020 {
        daemon.want(&[port]);
        tokio::task::yield_now().await;
    }
    daemon
        .sees(SOON, |view| view.forwards.keys().any(|id| id.0 == 9019))
        .await;

    assert_eq!(
        sets(&fake),
        [vec![8000], vec![9019]],
        "the first set and the last, none between"
    );
    assert_eq!(fake.connections(), 1);
    daemon.stop().await;
    assert_eq!(fake.asked().last().unwrap().what, "DELETE /v1/session");
}

#[tokio::test]
async fn requests_carry_what_the_companion_wants_and_nothing_else() {
    let fake = Fake::start(|asked| Reply::Bytes(asked.well_answered())).await;
    let mut daemon = Daemon::start(&key(), fake.address, fake.key);
    daemon.want(&[8000]);
    daemon.sees(SOON, |view| view.forwards.len() == 1).await;
    daemon.stop().await;

    let names: Vec<_> = fake
        .asked()
        .iter()
        .map(|asked| (asked.what.clone(), names(asked)))
        .collect();

    let expected = [
        ("POST /v1/session", "accept content-length content-type host"),
        (
            "PUT /v1/forwards",
            "accept content-length content-type host wslnet-generation wslnet-session",
        ),
        ("DELETE /v1/session", "accept host wslnet-session"),
    ];
    assert_eq!(
        names,
        expected.map(|(what, names)| (what.to_owned(), names.to_owned()))
    );
}

#[tokio::test]
async fn a_server_with_another_key_is_not_spoken_to() {
    let fake = Fake::start(|asked| Reply::Bytes(asked.well_answered())).await;
    let daemon = Daemon::start(&key(), fake.address, key().public());

    let view = ends_in(daemon, &fake, |view| view.state == LinkState::Unpaired).await;

    assert!(view.reason.contains("another key"), "{}", view.reason);
    assert!(view.reason.contains("`wslnetd trust KEY`"), "{}", view.reason);
    assert_eq!(fake.asked().len(), 0, "not one request");
}

#[tokio::test]
async fn a_server_that_trusts_nobody_says_what_to_do_there() {
    let fake = Fake::start_closed().await;
    let debian = key();
    let daemon = Daemon::start(&debian, fake.address, fake.key);

    let view = ends_in(daemon, &fake, |view| view.state == LinkState::Unpaired).await;

    let command = format!("`wslnet-companion trust NAME {}`", debian.public());
    assert!(view.reason.contains(&command), "{}", view.reason);
}

#[tokio::test]
async fn a_server_that_is_silent_looks_like_a_firewall() {
    let fake = Fake::start_mute().await;
    let daemon = Daemon::start(&key(), fake.address, fake.key);

    let view = ends_in(daemon, &fake, |view| view.reason.contains("does not answer")).await;

    assert_eq!(view.state, LinkState::Connecting);
    assert!(view.reason.contains("Windows Firewall"), "{}", view.reason);
    eventually(SOON, async || {
        check(fake.connections() > 1, || "no second attempt".to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_never_answers_a_request_is_given_up() {
    let fake = Fake::start(|_| Reply::Silence).await;
    let daemon = Daemon::start(&key(), fake.address, fake.key);

    let view = ends_in(daemon, &fake, |view| view.reason.contains("does not answer")).await;

    assert_eq!(view.state, LinkState::Connecting);
}

#[tokio::test]
async fn answers_without_sense_are_told_as_such() {
    let endless = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec();
    let cases: [(&str, Reply); 9] = [
        ("no HTTP", Reply::Last(b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec())),
        ("no JSON", Reply::Bytes(answer(200, b"<html>"))),
        ("another JSON", Reply::Bytes(answer(200, b"{\"session\":1}"))),
        ("nothing", Reply::Bytes(answer(200, b""))),
        ("a page", Reply::Bytes(answer(404, b"<html>"))),
        (
            "a redirect",
            Reply::Bytes(
                b"HTTP/1.1 307 Elsewhere\r\nlocation: https://wslnet.internal/\r\ncontent-length: 0\r\n\r\n"
                    .to_vec(),
            ),
        ),
        ("3 MB", Reply::Bytes(answer(200, &vec![b' '; 3 << 20]))),
        ("a broken end", Reply::Last(endless)),
        ("the end", Reply::Last(Vec::new())),
    ];
    let mut running = tokio::task::JoinSet::new();
    for (name, reply) in cases {
        running.spawn(async move {
            let fake = Fake::start(move |_| reply.clone()).await;
            let daemon = Daemon::start(&key(), fake.address, fake.key);
            let view = ends_in(daemon, &fake, |view| view.state == LinkState::Connecting).await;
            (name, view.reason)
        });
    }
    for (name, reason) in running.join_all().await {
        assert!(
            reason.contains("release") || reason.contains("restart"),
            "{name}: no fix: {reason}"
        );
    }
}

#[tokio::test]
async fn a_companion_that_opens_and_then_refuses_is_not_asked_without_end() {
    let cases = [
        ErrorCode::StaleSession,
        ErrorCode::StaleGeneration,
        ErrorCode::Invalid,
        ErrorCode::Forbidden,
        ErrorCode::Unavailable,
    ];
    let mut running = tokio::task::JoinSet::new();
    for code in cases {
        running.spawn(async move {
            let fake = Fake::start(move |asked| match asked.what.as_str() {
                "PUT /v1/forwards" => Reply::Bytes(refusal(&Problem::new(code, "mend this and that"))),
                _ => Reply::Bytes(asked.well_answered()),
            })
            .await;
            let daemon = Daemon::start(&key(), fake.address, fake.key);
            daemon.want(&[8000]);
            ends_in(daemon, &fake, |view| view.reason == "mend this and that").await
        });
    }

    for view in running.join_all().await {
        assert_eq!(view.state, LinkState::Connecting);
        assert!(view.forwards.is_empty());
    }
}

#[tokio::test]
async fn refusals_of_a_session_are_told_in_the_companions_words() {
    for code in [
        ErrorCode::ClonedKey,
        ErrorCode::UnsupportedVersion,
        ErrorCode::Unavailable,
    ] {
        let fake =
            Fake::start(move |_| Reply::Bytes(refusal(&Problem::new(code, "mend this and that")))).await;
        let mut daemon = Daemon::start(&key(), fake.address, fake.key);

        let view = daemon
            .sees(SOON, |view| view.reason == "mend this and that")
            .await;

        assert_eq!(view.state, LinkState::Connecting, "{code:?}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_keeps_everything_waiting_does_not_keep_the_stop_waiting() {
    let fake = Fake::start(|asked| match asked.what.as_str() {
        "DELETE /v1/session" => Reply::Silence,
        _ => Reply::Bytes(asked.well_answered()),
    })
    .await;
    let mut daemon = Daemon::start(&key(), fake.address, fake.key);
    daemon.want(&[8000]);
    daemon.sees(SOON, |view| view.forwards.len() == 1).await;

    let start = std::time::Instant::now();
    daemon.stop().await;

    assert!(start.elapsed() < limits::GRACE, "{:?}", start.elapsed());
    assert_eq!(fake.asked().last().unwrap().what, "DELETE /v1/session");
}

/// Waits for the view, then counts attempts for a while, and hands the view out.
async fn ends_in(
    mut daemon: Daemon,
    fake: &Fake,
    expected: impl Fn(&CompanionView) -> bool,
) -> CompanionView {
    let view = daemon
        .sees(SOON, |view| {
            view.address.is_some() && !view.reason.is_empty() && expected(view)
        })
        .await;
    let before = fake.connections();
    tokio::time::sleep(COUNTED).await;
    let attempts = fake.connections() - before;
    assert!(
        attempts <= ATTEMPTS,
        "{attempts} attempts in {COUNTED:?}: {view:?}"
    );
    assert!(daemon.lives());
    view
}

fn sets(fake: &Fake) -> Vec<Vec<u16>> {
    fake.asked()
        .iter()
        .filter(|asked| asked.what == "PUT /v1/forwards")
        .map(|asked| asked.set().forwards.iter().map(|forward| forward.port).collect())
        .collect()
}

/// The names of the headers, in order. The first line is no header, the last one the server's own note.
fn names(asked: &Asked) -> String {
    let lines = asked.head.lines().skip(1);
    let mut names: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, _)| name)
        .filter(|name| *name != "x-peer")
        .collect();
    names.sort_unstable();
    names.join(" ")
}
