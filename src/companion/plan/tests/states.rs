//! What distros are told of their forwards.

use super::*;

#[test]
fn a_port_that_somebody_holds_is_a_conflict_until_a_retry_succeeds() {
    let mut bench = Bench::new();
    bench
        .busy
        .extend([address("192.168.1.20:8000"), address("[2001:db8::20]:8000")]);
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);
    bench.expect("a", 1, ForwardState::Conflict, "192.168.1.20:8000 is held");
    assert!(bench.actual.has_failures());

    bench.busy.clear();
    assert_eq!(bench.settle(false), []);
    assert_eq!(bench.settle(true).len(), 2);
    bench.expect("a", 1, ForwardState::Active, "");
    assert!(!bench.actual.has_failures());
}

#[test]
fn one_address_of_two_is_active_and_names_the_other() {
    let mut bench = Bench::new();
    bench.busy.insert(address("192.168.1.20:8000"));
    bench.put("a", &[forward(1, 8000)], &[]);

    bench.settle(false);

    bench.expect("a", 1, ForwardState::Active, "192.168.1.20:8000 is held");
    assert_eq!(bench.status("a", 1).listen, listens(&["[2001:db8::20]:8000"]));
}

#[test]
fn an_address_that_fails_for_another_reason_is_pending() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);
    for applied in bench.actual.relays.values_mut() {
        let failure = Failure {
            reason: "the address is not there yet".into(),
            conflict: None,
            stuck: None,
        };
        applied.failed = applied
            .listening
            .iter()
            .map(|address| (*address, failure.clone()))
            .collect();
        applied.listening.clear();
    }

    let status = bench.status("a", 1);

    // Said once, though both addresses failed.
    assert_eq!(
        (status.state, status.reason.as_str()),
        (ForwardState::Pending, "the address is not there yet")
    );
}

#[test]
fn before_the_actions_ran_a_forward_is_pending() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);

    bench.expect("a", 1, ForwardState::Pending, "being opened");
}

#[test]
fn an_address_that_is_to_be_closed_is_not_told_as_open() {
    let mut bench = Bench::new();
    bench.put("a", &[forward(1, 8000)], &[]);
    bench.settle(false);
    bench.interfaces.retain(|interface| interface.name != "Ethernet");
    bench
        .interfaces
        .push(interface("Ethernet", &[("192.168.1.21", 24)]));

    bench.expect("a", 1, ForwardState::Pending, "being opened");
    assert_eq!(bench.status("a", 1).listen, []);
}

#[test]
fn statuses_follow_the_order_of_the_set() {
    let mut bench = Bench::new();
    bench.limit(3);
    bench.put(
        "a",
        &[
            forward(9, 9000),
            forward(1, 445),
            forward(5, 7000),
            forward(3, 6000),
        ],
        &[],
    );

    let ids: Vec<u64> = statuses(&bench.desired(), &bench.actual, &Opinions::new(), "a")
        .iter()
        .map(|s| s.id.0)
        .collect();

    assert_eq!(ids, [9, 1, 5, 3]);
}
