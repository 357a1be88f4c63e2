//! What a change of the backend leaves to be done.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use wslnet_protocol::Protocol;

use super::*;
use crate::apply::ConnectionGate;

const REGISTRY: &str = "portproxy-registry.toml";
const RULES: &str = "firewall-rules.toml";

fn executor(backend: Backend, state_dir: &Path) -> Executor {
    Executor::new(backend, Arc::new(ConnectionGate::new(None)), state_dir)
}

/// One forward, as a run with portproxy leaves it behind that was killed.
async fn left_behind(state_dir: &Path) {
    let key = Key {
        protocol: Protocol::Tcp,
        port: 8000,
    };
    let open = Action::Open {
        key,
        distro: "ubuntu".to_owned(),
        id: ForwardId(1),
        target: "172.20.0.2:8000".parse().unwrap(),
    };
    let listen = Action::Listen {
        key,
        address: "198.51.100.20:8000".parse().unwrap(),
    };
    let mut killed = executor(Backend::Portproxy, state_dir);
    killed.apply(vec![open, listen], BTreeMap::new()).await;
    assert!(text(state_dir, REGISTRY).contains("198.51.100.20/8000"));
    assert!(text(state_dir, RULES).contains("wslnet port tcp 8000"));
}

fn text(state_dir: &Path, file: &str) -> String {
    std::fs::read_to_string(state_dir.join(file)).unwrap()
}

fn replace(state_dir: &Path, file: &str, from: &str, to: &str) {
    let before = text(state_dir, file);
    assert!(before.contains(from), "{before}");
    let after = before.replace(from, to);
    wslnet_link::replace_state_file(state_dir, file, after.as_bytes()).unwrap();
}

fn later() -> Awake {
    host::awake().checked_add(Duration::from_secs(60)).unwrap()
}

#[tokio::test]
async fn what_portproxy_has_left_goes_with_the_relay_too_as_soon_as_windows_answers() {
    for (file, works, fails) in [
        (REGISTRY, "writable = true", "writable = false"),
        (RULES, "answers = true", "answers = false"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path();
        left_behind(state_dir).await;
        replace(state_dir, file, works, fails);
        // As at the start.
        let cleared = super::super::portproxy::clear(state_dir);
        let rules = crate::firewall::clear_leftovers(state_dir);
        assert!(cleared.left.is_some() || rules.left.is_some());

        let mut relay = executor(Backend::Relay, state_dir);
        assert!(relay.is_due(host::awake()));
        relay.apply(Vec::new(), BTreeMap::new()).await;
        assert!(relay.is_due(later()), "it is tried again");
        assert!(relay.is_settled(), "without a hurry");

        replace(state_dir, file, fails, works);
        let mut relay = executor(Backend::Relay, state_dir);
        relay.apply(Vec::new(), BTreeMap::new()).await;

        assert!(
            !text(state_dir, REGISTRY).contains("198.51.100.20/8000"),
            "{file}"
        );
        assert!(!text(state_dir, RULES).contains("wslnet port"), "{file}");
        assert!(!relay.is_due(later()), "{file}");
    }
}
