#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixListener;

use super::super::Said;
use super::super::fake::Fake;
use super::super::fixture::{holder, listener, of_service};
use super::*;

const NGINX: &str = "nginx.service";
/// More than any of this takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn known<'a>(values: &[&'a str]) -> Said<'a> {
    Said::Known(values.iter().copied().collect())
}

/// Follows a listener until it is said of it what it should be.
async fn until_said(watch: &mut Watch, listener: &Listener, wanted: &Said<'_>) {
    let listeners = std::slice::from_ref(listener);
    let said = timeout(SOON, async {
        watch.follow(listeners).await;
        while watch.units().of(listener, Instant::now()) != *wanted {
            watch.changed().await.unwrap();
        }
    });
    let Ok(()) = said.await else {
        panic!("{:?}", watch.units().of(listener, Instant::now()))
    };
}

#[tokio::test]
async fn a_new_listener_is_followed_by_the_word_of_its_unit() {
    let fake = Fake::start().await;
    fake.load(NGINX, &["WSLNETD=off"]).await;
    let mut watch = Watch::start(fake.places.clone(), CancellationToken::new());
    assert!(watch.is_ready(), "nothing is in demand");

    until_said(&mut watch, &of_service(Instant::now(), NGINX), &known(&["off"])).await;
    fake.load(NGINX, &["WSLNETD=host"]).await;
    until_said(&mut watch, &of_service(Instant::now(), NGINX), &known(&["host"])).await;

    assert!(watch.is_ready());
    assert_eq!(watch.units().trouble(), None);
}

#[tokio::test]
async fn another_process_of_the_service_has_it_asked_again() {
    let fake = Fake::start().await;
    fake.load(NGINX, &[]).await;
    let mut watch = Watch::start(fake.places.clone(), CancellationToken::new());
    let since = Instant::now();
    let with_holder = |started| listener(since, vec![holder(started, &[NGINX])]);
    until_said(&mut watch, &with_holder(1), &known(&[])).await;

    fake.load(NGINX, &["WSLNETD=off"]).await;

    until_said(&mut watch, &with_holder(2), &known(&["off"])).await;
}

#[tokio::test]
async fn a_bus_that_hangs_delays_nobody_for_long_and_is_heard_when_it_is_back() {
    let mut fake = Fake::start().await;
    fake.load(NGINX, &["WSLNETD=off"]).await;
    let real = std::mem::replace(&mut fake.places.bus, fake.places.booted.join("silent"));
    let silent = UnixListener::bind(&fake.places.bus).unwrap();
    let mut watch = Watch::start(fake.places.clone(), CancellationToken::new());
    let listener = of_service(Instant::now(), NGINX);

    watch.follow(std::slice::from_ref(&listener)).await;
    assert!(listener.since.elapsed() < PATIENCE, "it was waited for");
    assert!(!watch.is_ready());
    until_said(&mut watch, &listener, &known(&[])).await;
    assert!(watch.is_ready());
    let trouble = watch.units().trouble().map(str::to_owned);
    assert!(trouble.is_some_and(|trouble| trouble.contains("did not answer")));

    drop(silent);
    std::fs::rename(&real, &fake.places.bus).unwrap();
    until_said(&mut watch, &listener, &known(&["off"])).await;
    assert_eq!(watch.units().trouble(), None);
}

#[tokio::test]
async fn more_services_than_one_round_has_room_for_are_heard_in_the_next() {
    let fake = Fake::start().await;
    let names: Vec<String> = (0..=ROUND)
        .map(|number| format!("s{number:03}.service"))
        .collect();
    for name in &names {
        fake.load(name, &[&format!("WSLNETD={name}")]).await;
    }
    let mut watch = Watch::start(fake.places.clone(), CancellationToken::new());
    let holders = names.iter().map(|name| holder(1, &[name]));
    let listener = listener(Instant::now(), holders.collect());

    // On a busy machine some of them may be late at first.
    let all = Said::Known(names.iter().map(String::as_str).collect());
    until_said(&mut watch, &listener, &all).await;
}

#[tokio::test]
async fn the_task_ends_with_its_token() {
    let stop = CancellationToken::new();
    let fake = Fake::start().await;
    let mut watch = Watch::start(fake.places.clone(), stop.clone());

    stop.cancel();

    assert!(
        timeout(SOON, watch.changed())
            .await
            .is_ok_and(|changed| changed.is_err())
    );
}
