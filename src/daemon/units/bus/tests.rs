#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixListener;

use super::super::fake::Fake;
use super::*;

/// The answers about these services, in their order.
async fn ask(places: &Places, services: &[&str]) -> Vec<Answer> {
    let services: Vec<String> = services.iter().map(|service| (*service).to_owned()).collect();
    let mut answers = places.ask(&services).await;
    answers.sort_by_key(|(answered, _)| services.iter().position(|service| service == answered));
    assert_eq!(answers.len(), services.len());
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[tokio::test]
async fn units_are_asked_for_what_they_say() {
    let fake = Fake::start().await;
    fake.load("nginx.service", &["LANG=C", "WSLNETD=off", "XWSLNETD=lan"])
        .await;
    fake.load("a\\x2db@1.service", &["WSLNETD=host,name=shop"]).await;
    fake.load("silent.service", &["WSLNETD_X=off", "NOT_WSLNETD=off"])
        .await;

    let services = [
        "nginx.service",
        "a\\x2db@1.service",
        "silent.service",
        "gone.service",
    ];
    let answers = ask(&fake.places, &services).await;

    let said = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(answers, [said("off"), said("host,name=shop"), Ok(None), Ok(None)]);
}

#[tokio::test]
async fn more_services_than_are_asked_for_at_a_time_are_all_answered() {
    let fake = Fake::start().await;
    let names: Vec<String> = (0..=AT_A_TIME)
        .map(|number| format!("s{number}.service"))
        .collect();
    for (number, name) in names.iter().enumerate() {
        fake.load(name, &[&format!("WSLNETD=name=s{number}")]).await;
    }

    let answers = ask(
        &fake.places,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;

    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, Ok(Some(format!("name=s{number}"))));
    }
}

#[tokio::test]
async fn nothing_is_left_on_the_bus() {
    let fake = Fake::start().await;
    fake.load("nginx.service", &[]).await;

    for _ in 0..3 {
        ask(&fake.places, &["nginx.service"]).await;
    }

    let limit = Instant::now() + Duration::from_secs(30);
    while fake.strangers().await > 0 {
        assert!(Instant::now() < limit, "still on the bus");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn where_systemd_does_not_run_nobody_says_anything() {
    let mut fake = Fake::start().await;
    fake.load("nginx.service", &["WSLNETD=off"]).await;
    fake.places.booted = fake.places.booted.join("missing");

    assert_eq!(ask(&fake.places, &["nginx.service"]).await, [Ok(None)]);
}

#[tokio::test]
async fn a_systemd_without_a_bus_is_a_trouble_that_names_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let places = Places {
        booted: folder.path().to_owned(),
        bus: folder.path().join("bus"),
    };

    let answers = ask(&places, &["a.service", "b.service"]).await;

    for answer in answers {
        let trouble = answer.unwrap_err();
        assert!(trouble.contains("install dbus"), "{trouble}");
    }
}

#[tokio::test]
async fn a_bus_without_systemd_and_one_that_talks_nonsense_are_troubles() {
    let fake = Fake::start().await;
    fake.load("nginx.service", &["WSLNETD=off"]).await;
    fake.lose_systemd().await;
    let folder = tempfile::tempdir().unwrap();
    let nonsense = Places {
        booted: folder.path().to_owned(),
        bus: folder.path().join("bus"),
    };
    let listener = UnixListener::bind(&nonsense.bus).unwrap();
    let speaker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // It may have had enough of this before all is said.
        drop(io::Write::write_all(&mut stream, &[b'\x1b'; 1 << 16]));
    });

    let none = ask(&fake.places, &["nginx.service"]).await.remove(0).unwrap_err();
    let odd = ask(&nonsense, &["nginx.service"]).await.remove(0).unwrap_err();

    speaker.join().unwrap();
    assert!(none.contains("systemd refused"), "{none}");
    assert!(odd.contains("refused"), "{odd}");
    assert!(odd.chars().count() < 400 && !odd.contains('\x1b'), "{odd:?}");
}

#[tokio::test]
async fn a_bus_that_hangs_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let places = Places {
        booted: folder.path().to_owned(),
        bus: folder.path().join("bus"),
    };
    let _silent = UnixListener::bind(&places.bus).unwrap();

    let answers = tokio::time::timeout(LIMIT * 10, ask(&places, &["a.service", "b.service"]));

    for answer in answers.await.unwrap() {
        assert!(answer.unwrap_err().contains("did not answer"));
    }
}

#[test]
fn the_last_assignment_counts_and_is_safe_to_print() {
    let value = |texts: &[&str]| value_in(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());

    assert_eq!(value(&[]), None);
    assert_eq!(value(&["WSLNETD=off", "WSLNETD=lan"]).as_deref(), Some("lan"));
    assert_eq!(value(&["WSLNETD="]).as_deref(), Some(""));
    assert_eq!(value(&["WSLNETD=\x1b[2J"]).as_deref(), Some("\u{fffd}[2J"));
    let long = value(&[&format!("WSLNETD={}", "lan,".repeat(1000))]).unwrap();
    assert!(
        long.chars().count() == VALUE_CHARS && long.ends_with('…'),
        "{long}"
    );
}
