#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
use wslnet_link::KeyPair;
use wslnet_protocol::{ForwardState, Protocol, Reach};

use super::*;
use crate::form::Form;

/// One with a trusted distro, which says always the same.
pub(crate) fn bulletin() -> Bulletin {
    let key = |byte: &str| byte.repeat(32).parse::<PublicKey>().unwrap();
    Bulletin {
        key: key("19"),
        trusted: BTreeMap::from([("Ubuntu".to_owned(), key("bf"))]),
        status: Answer::Failed("it has just started".to_owned()),
        list: Answer::Failed("it has just started".to_owned()),
    }
}

fn status() -> StatusReport {
    StatusReport {
        version: "0.1.0".into(),
        form: Form::Service,
        rights: vec![],
        control: vec![],
        control_trouble: None,
        shared: String::new(),
        backend: "relay".into(),
        capability: String::new(),
        reach: Reach::Lan,
        addresses: vec![],
        networks: vec![],
        firewall: vec![],
        trusted: 1,
        distros: vec![],
        active: 1,
        udp: 0,
        moved: 0,
        inactive: 0,
        names: String::new(),
        config_error: Some("companion.toml:3: password = \"secret\"".into()),
    }
}

fn forward() -> ForwardReport {
    ForwardReport {
        distro: "Ubuntu".into(),
        protocol: Protocol::Tcp,
        port: 8000,
        wanted: 8000,
        listen: vec![],
        target: None,
        state: ForwardState::Active,
        reason: String::new(),
        reach: Reach::Lan,
        name: None,
        labels: vec!["container.name=secret".into()],
        connections: 0,
        refused: 0,
        dial_failures: 0,
        bytes_in: 0,
        bytes_out: 0,
    }
}

#[test]
fn what_is_not_for_everybody_is_left_out() {
    let place = tempfile::tempdir().unwrap();
    let (companion, distro) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    wslnet_link::trust(place.path(), "Ubuntu", distro.public()).unwrap();
    let peers = Peers::load(place.path()).unwrap();

    let bulletin = Bulletin::new(companion.public(), &peers, Ok((status(), vec![forward()])));

    assert_eq!(
        bulletin.trusted,
        BTreeMap::from([("Ubuntu".to_owned(), distro.public())])
    );
    let text = serde_json::to_string(&bulletin).unwrap();
    assert!(!text.contains("secret"), "{text}");
    assert!(text.contains("says why") && text.contains("8000"), "{text}");
}

#[test]
fn a_companion_that_serves_nobody_yet_still_tells_its_keys() {
    let place = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap().public();
    let peers = Peers::load(place.path()).unwrap();

    let bulletin = Bulletin::new(key, &peers, Err("no adapter".into()));

    assert_eq!(bulletin.key, key);
    assert!(matches!(bulletin.status, Answer::Failed(reason) if reason == "no adapter"));
}
