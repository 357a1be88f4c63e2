//! What the backend means for forwards, and states that only some backends know.

use super::*;
use crate::config::Backend;

#[test]
fn portproxy_carries_no_udp_whichever_port_would_do() {
    let mut bench = Bench::new();
    bench.backend = Backend::Portproxy;
    let host = Forward {
        reach: Reach::Host,
        ..udp(4, 8003)
    };
    let elsewhere = Forward {
        auto: true,
        ..udp(3, 8002)
    };
    bench.put("a", &[forward(1, 8000), udp(2, 8001), elsewhere, host], &[]);

    bench.settle(false);

    bench.expect("a", 1, ForwardState::Active, "");
    for id in [2, 3] {
        bench.expect(
            "a",
            id,
            ForwardState::Denied,
            "carries no UDP: set `backend = \"relay\"`",
        );
    }
    bench.expect("a", 4, ForwardState::Active, "Windows itself reaches it");
    assert_eq!(bench.actual.relays.keys().collect::<Vec<_>>(), [&key(8000)]);
}

#[test]
fn what_is_stuck_at_every_address_has_a_state_of_its_own() {
    for (stuck, state) in [
        (Stuck::Denied, ForwardState::Denied),
        (Stuck::Contended, ForwardState::Contended),
    ] {
        let mut bench = Bench::new();
        bench.put("a", &[forward(1, 8000)], &[]);
        bench.settle(false);
        let applied = bench.actual.relays.get_mut(&key(8000)).unwrap();
        let failure = Failure {
            reason: "told".into(),
            conflict: None,
            stuck: Some(stuck),
        };
        let last = *applied.listening.last().unwrap();
        let others = applied.listening.iter().filter(|address| **address != last);
        applied.failed = others.map(|address| (*address, failure.clone())).collect();
        applied.listening = [last].into();
        bench.expect("a", 1, ForwardState::Active, "told");

        let applied = bench.actual.relays.get_mut(&key(8000)).unwrap();
        applied.listening.clear();
        applied.failed.insert(last, failure);

        bench.expect("a", 1, state, "told");
    }
}
