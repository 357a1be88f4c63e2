//! Trust that changes while the companion runs.

use wslnet_protocol::{ErrorCode, Problem};

use crate::bench::{A_SECOND, Companion, Request, Session, Wire, check, eventually, hello, key, set};

#[tokio::test]
async fn a_withdrawn_key_loses_session_ports_and_connections_within_a_second() {
    let (debian, ubuntu) = (key(), key());
    let companion = Companion::start(&[("debian", debian.public()), ("ubuntu", ubuntu.public())]);
    let mut of_debian = Session::open(&companion, &debian).await;
    let mut idle = Wire::connect(&companion, &debian).await.unwrap();
    let stale = idle.call(&Request::get(of_debian.id())).await.unwrap();
    assert_eq!(stale.code(), ErrorCode::StaleSession);
    let mut of_ubuntu = Session::open(&companion, &ubuntu).await;
    of_debian.put(1, &set(&[8000])).await.unwrap();
    of_ubuntu.put(1, &set(&[9000])).await.unwrap();

    companion.untrust("debian");

    of_debian.wire.end(A_SECOND).await;
    idle.end(A_SECOND).await;
    assert_eq!(companion.ports().await, [9000]);
    assert_eq!(companion.distros().await, ["ubuntu"]);
    assert!(of_ubuntu.get().await.is_ok());
    let mut again = Wire::connect(&companion, &debian).await.unwrap();
    assert!(again.call(&Request::open(&hello())).await.is_err());
}

#[tokio::test]
async fn a_new_key_is_let_in_within_a_second_without_a_restart() {
    let debian = key();
    let companion = Companion::start(&[]);

    companion.trust("debian", debian.public());

    let session = eventually(A_SECOND, async || {
        let mut wire = Wire::connect(&companion, &debian).await.unwrap();
        let answer = wire.call(&Request::open(&hello())).await;
        let opened: Result<wslnet_protocol::SessionOpened, Problem> =
            answer.map_err(|error| error.to_string())?.read();
        opened.map_err(|problem| problem.to_string())
    })
    .await;
    assert_eq!(session.distro, "debian");
}

#[tokio::test]
async fn a_name_that_gets_another_key_is_another_distro() {
    let (former, new) = (key(), key());
    let companion = Companion::start(&[("debian", former.public())]);
    let mut session = Session::open(&companion, &former).await;
    session.put(1, &set(&[8000])).await.unwrap();

    companion.trust("debian", new.public());

    session.wire.end(A_SECOND).await;
    eventually(A_SECOND, async || {
        let ports = companion.ports().await;
        check(ports.is_empty(), || format!("{ports:?}"))
    })
    .await;
    let taken = Session::open(&companion, &new).await;
    assert_eq!(taken.opened.distro, "debian");
}
