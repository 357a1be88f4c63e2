//! Which services are asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fixture::{holder, listener, of_service};
use super::{Interest, NAME_BYTES, demand};
use crate::labels::Declared;

/// The services of a process in these units.
fn asked_for(units: &[&str]) -> Vec<String> {
    let listener = listener(Instant::now(), vec![holder(1, units)]);
    demand(&[listener]).into_keys().collect()
}

#[test]
fn the_services_of_the_systems_manager_are_asked_for() {
    assert_eq!(asked_for(&["nginx.service"]), ["nginx.service"]);
    assert_eq!(
        asked_for(&["postgresql@15-main.service"]),
        ["postgresql@15-main.service"]
    );
    assert_eq!(asked_for(&["a\\x2db:c_d.service"]), ["a\\x2db:c_d.service"]);
}

#[test]
fn what_a_user_or_a_container_names_is_not_asked_for() {
    for units in [
        &["demo.service", "user@1000.service"][..],
        &["init.scope", "user@1000.service"],
        &["nginx.service", "docker-0123.scope"],
        &["init.scope"],
        &["session-2.scope"],
        &["ssh.socket"],
        &[],
    ] {
        assert_eq!(asked_for(units), [""; 0], "{units:?}");
    }
}

#[test]
fn a_service_that_names_groups_of_its_own_stays_the_one_that_is_asked_for() {
    let units = ["quiet.service", "payload.scope", "app.service"];

    assert_eq!(asked_for(&units), ["app.service"]);
}

#[test]
fn names_that_no_unit_has_are_not_asked_for() {
    let long = format!("{}.service", "x".repeat(NAME_BYTES - 7));
    for name in [
        "a b.service",
        "a/b.service",
        "\u{fffd}.service",
        "ä.service",
        &long,
    ] {
        assert_eq!(asked_for(&[name]), [""; 0], "{name}");
    }
    assert_eq!(asked_for(&[&long[1..]]).len(), 1);
}

#[test]
fn of_several_listeners_and_holders_the_newest_count() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let old = listener(now, vec![holder(9, &["a.service"]), holder(3, &["b.service"])]);
    let new = listener(later, vec![holder(4, &["a.service"])]);

    let demand = demand(&[new, old]);

    let newest = |since, started| Interest { since, started };
    assert_eq!(demand.get("a.service"), Some(&newest(later, 9)));
    assert_eq!(demand.get("b.service"), Some(&newest(now, 3)));
}

#[test]
fn nobody_is_asked_for_a_stranger() {
    let mut foreign = of_service(Instant::now(), "nginx.service");
    foreign.owner = None;
    let mut pending = of_service(Instant::now(), "nginx.service");
    if let Some(owner) = &mut pending.owner {
        Arc::make_mut(owner).declared = Declared::Pending;
    }

    assert!(demand(&[foreign]).is_empty());
    assert_eq!(demand(&[pending]).len(), 1);
}
