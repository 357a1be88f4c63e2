//! Which session and which set count: the newest of each, and nothing ever goes backwards.

use std::time::{Duration, Instant};

use wslnet_protocol::{Applied, ErrorCode, OpenSession, VERSION, limits};

use crate::bench::{A_SECOND, Companion, Request, SOON, Session, Wire, check, eventually, hello, key, set};

#[tokio::test]
async fn a_newer_session_ends_the_older_one_and_its_connection() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut old = Session::open(&companion, &debian).await;
    old.put(1, &set(&[8000])).await.unwrap();

    let mut new = Session::open(&companion, &debian).await;

    assert_ne!(old.id(), new.id());
    let nothing = old.wire.end(A_SECOND).await;
    assert_eq!(nothing, b"");
    assert_eq!(
        companion.ports().await,
        [8000],
        "the set stays until the new session brings its own"
    );
    new.put(1, &set(&[9000])).await.unwrap();
    assert_eq!(companion.ports().await, [9000]);
}

#[tokio::test]
async fn a_late_set_of_a_former_session_on_the_same_connection_is_refused() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;
    let former = session.id();
    let again = session.wire.call(&Request::open(&hello())).await.unwrap();
    session.opened = again.read().unwrap();
    session.put(1, &set(&[9000])).await.unwrap();

    let late = Request::put(former, 99, &set(&[8000]));
    let answer = session.wire.call(&late).await.unwrap();

    assert_eq!(answer.code(), ErrorCode::StaleSession);
    assert_eq!(companion.ports().await, [9000]);
}

#[tokio::test]
async fn a_session_is_worth_nothing_on_another_connection() {
    let (debian, ubuntu) = (key(), key());
    let companion = Companion::start(&[("debian", debian.public()), ("ubuntu", ubuntu.public())]);
    let mut session = Session::open(&companion, &debian).await;
    session.put(1, &set(&[8000])).await.unwrap();

    for thief in [&debian, &ubuntu] {
        let mut other = Wire::connect(&companion, thief).await.unwrap();
        for request in [
            Request::put(session.id(), 2, &set(&[9000])),
            Request::get(session.id()),
            Request::renew(session.id(), 0),
            Request::close(session.id()),
        ] {
            let answer = other.call(&request).await.unwrap();
            assert_eq!(answer.code(), ErrorCode::StaleSession, "{request:?}");
        }
    }

    assert_eq!(companion.ports().await, [8000]);
    assert_eq!(session.put(2, &set(&[8001])).await.unwrap().generation, Some(2));
}

#[tokio::test]
async fn a_generation_that_is_not_newer_changes_nothing() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;
    let applied = session.put(5, &set(&[8000])).await.unwrap();

    for stale in [5, 4, 0] {
        let refused = session.put(stale, &set(&[9000])).await.unwrap_err();
        assert_eq!(refused.error, ErrorCode::StaleGeneration, "{stale}");
    }

    assert_eq!(session.get().await.unwrap(), applied);
    assert_eq!(companion.ports().await, [8000]);
    assert!(session.put(u64::MAX, &set(&[9000])).await.is_ok());
}

#[tokio::test]
async fn a_copy_of_a_distro_cannot_take_its_place_while_it_runs() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut original = Session::open(&companion, &debian).await;
    original.put(1, &set(&[8000])).await.unwrap();
    let copy = OpenSession {
        pid_namespace: hello().pid_namespace + 1,
        ..hello()
    };

    let refused = Session::open_as(&companion, &debian, &copy).await.unwrap_err();

    assert_eq!(refused.error, ErrorCode::ClonedKey);
    assert!(refused.message.contains("debian"), "{refused}");
    assert_eq!(original.put(2, &set(&[8001])).await.unwrap().generation, Some(2));

    drop(original);
    // The grace of the lost connection is for the distro that lost it.
    let refused = Session::open_as(&companion, &debian, &copy).await.unwrap_err();
    assert_eq!(refused.error, ErrorCode::ClonedKey);
    let taken = eventually(limits::GRACE + A_SECOND, async || {
        Session::open_as(&companion, &debian, &copy)
            .await
            .map_err(|problem| problem.to_string())
    })
    .await;
    assert_eq!(taken.opened.distro, "debian");
}

#[tokio::test]
async fn the_end_of_a_session_ends_no_connection_that_is_to_open_the_next() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut former = Session::open(&companion, &debian).await;
    former.put(1, &set(&[8000])).await.unwrap();
    let next = Wire::connect(&companion, &debian).await.unwrap();
    drop(former);
    eventually(limits::GRACE + A_SECOND, async || {
        let distros = companion.distros().await;
        check(distros.is_empty(), || format!("{distros:?}"))
    })
    .await;

    let mut next = Session::open_on(next, &hello()).await.unwrap();
    next.put(1, &set(&[8001])).await.unwrap();
    assert_eq!(companion.ports().await, [8001]);
}

#[tokio::test]
async fn after_a_restart_of_the_vm_its_former_session_is_no_copy() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut before = Session::open(&companion, &debian).await;
    let rebooted = OpenSession {
        boot_id: "another-boot".to_owned(),
        pid_namespace: hello().pid_namespace + 1,
        ..hello()
    };

    let after = Session::open_as(&companion, &debian, &rebooted).await;

    assert!(after.is_ok());
    before.wire.end(A_SECOND).await;
}

#[tokio::test]
async fn another_version_of_the_protocol_is_told_so() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);

    for version in [0, VERSION + 1, u32::MAX] {
        let other = OpenSession {
            protocol: version,
            ..hello()
        };
        let refused = Session::open_as(&companion, &debian, &other).await.unwrap_err();
        assert_eq!(refused.error, ErrorCode::UnsupportedVersion);
        assert_eq!(refused.error.status(), 426);
        assert!(refused.message.contains("same release"), "{refused}");
    }

    assert_eq!(companion.distros().await, [""; 0]);
}

#[tokio::test]
async fn a_third_connection_of_a_key_ends_the_oldest() {
    let (debian, ubuntu) = (key(), key());
    let companion = Companion::start(&[("debian", debian.public()), ("ubuntu", ubuntu.public())]);
    let mut of_ubuntu = Session::open(&companion, &ubuntu).await;
    let unknown = Request::get(of_ubuntu.id());
    // An answer proves that the companion has seen the connection: they count in the order of their handshakes.
    let mut first = Wire::connect(&companion, &debian).await.unwrap();
    first.call(&unknown).await.unwrap();
    let mut second = Wire::connect(&companion, &debian).await.unwrap();
    second.call(&unknown).await.unwrap();

    let mut third = Wire::connect(&companion, &debian).await.unwrap();
    third.call(&unknown).await.unwrap();

    first.end(A_SECOND).await;
    for alive in [&mut second, &mut third] {
        assert_eq!(
            alive.call(&unknown).await.unwrap().code(),
            ErrorCode::StaleSession
        );
    }
    assert!(of_ubuntu.get().await.is_ok(), "other keys are not concerned");
}

#[tokio::test]
async fn a_set_outlives_its_connection_by_the_grace_and_no_longer() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;
    session.put(1, &set(&[8000])).await.unwrap();

    drop(session);
    let lost = Instant::now();
    eventually(limits::GRACE + A_SECOND, async || {
        let ports = companion.ports().await;
        check(ports.is_empty(), || format!("{ports:?}"))
    })
    .await;

    let kept = lost.elapsed();
    assert!(
        kept > limits::GRACE - Duration::from_millis(300),
        "kept for {kept:?}"
    );
    assert_eq!(companion.distros().await, [""; 0]);
}

#[tokio::test]
async fn a_daemon_that_comes_back_within_the_grace_loses_nothing() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;
    session.put(1, &set(&[8000])).await.unwrap();
    drop(session);
    eventually(A_SECOND, async || {
        let (status, _) = companion.report().await;
        check(!status.distros[0].connected, || format!("{status:?}"))
    })
    .await;

    let mut back = Session::open(&companion, &debian).await;
    let start = Instant::now();
    while start.elapsed() < limits::GRACE + Duration::from_millis(500) {
        assert_eq!(companion.ports().await, [8000], "after {:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let of_back: Applied = back.get().await.unwrap();
    assert_eq!(of_back.generation, None, "it has not sent its own set yet");
    assert_eq!(of_back.forwards.len(), 1);
}

#[tokio::test]
async fn a_goodbye_frees_the_ports_of_one_distro_only() {
    let (debian, ubuntu) = (key(), key());
    let companion = Companion::start(&[("debian", debian.public()), ("ubuntu", ubuntu.public())]);
    let mut of_debian = Session::open(&companion, &debian).await;
    let mut of_ubuntu = Session::open(&companion, &ubuntu).await;
    of_debian.put(1, &set(&[8000])).await.unwrap();
    of_ubuntu.put(1, &set(&[9000])).await.unwrap();

    let goodbye = Request::close(of_debian.id());
    let answer = of_debian.wire.call(&goodbye).await.unwrap();

    assert_eq!(answer.status, 204);
    assert_eq!(companion.ports().await, [9000]);
    let twice = tokio::time::timeout(SOON, of_debian.wire.call(&goodbye)).await;
    assert_eq!(twice.unwrap().unwrap().code(), ErrorCode::StaleSession);
}

#[tokio::test]
async fn a_companion_that_starts_again_knows_nothing_of_former_sessions() {
    let debian = key();
    let mut companion = Companion::start(&[("debian", debian.public())]);
    let mut before = Session::open(&companion, &debian).await;
    before.put(1, &set(&[8000])).await.unwrap();

    companion.stop().await;
    before.wire.end(A_SECOND).await;
    companion.start_again();

    assert_eq!(companion.ports().await, [0; 0]);
    let mut wire = Wire::connect(&companion, &debian).await.unwrap();
    let late = wire
        .call(&Request::put(before.id(), 2, &set(&[8000])))
        .await
        .unwrap();
    assert_eq!(late.code(), ErrorCode::StaleSession);
    assert_eq!(companion.ports().await, [0; 0]);
}
