use super::super::demand;
use super::super::fixture::{fail, holder, listener, of_service, tell};
use super::*;

const NGINX: &str = "nginx.service";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn known<'a>(values: &[&'a str]) -> Said<'a> {
    Said::Known(values.iter().copied().collect())
}

fn waits(said: &Said<'_>) -> bool {
    matches!(said, Said::Waits { .. })
}

#[test]
fn who_is_in_no_service_has_no_unit_that_speaks() {
    let now = Instant::now();
    let listener = listener(now, vec![holder(1, &[])]);

    assert_eq!(Units::default().of(&listener, now), known(&[]));
}

#[test]
fn a_new_listener_waits_for_its_unit_and_not_for_ever() {
    let now = Instant::now();
    let listener = of_service(now, NGINX);
    let units = Units::default();

    let Said::Waits { reason, until } = units.of(&listener, now) else {
        panic!("it does not wait")
    };
    let before = units.of(&listener, until - Duration::from_millis(1));
    let then = units.of(&listener, until);

    assert!(reason.contains(NGINX), "{reason}");
    assert_eq!(until, now + PATIENCE);
    assert!(waits(&before));
    assert_eq!(then, known(&[]));
}

#[test]
fn what_a_unit_says_is_known_once_it_was_asked() {
    let now = Instant::now();
    let listener = of_service(now, NGINX);
    let mut units = Units::default();

    tell(&mut units, NGINX, now, Some("off"));

    assert_eq!(units.of(&listener, now), known(&["off"]));
    tell(&mut units, NGINX, now + seconds(1), None);
    assert_eq!(units.of(&listener, now + seconds(1)), known(&[]));
}

#[test]
fn what_was_said_before_a_listener_came_does_not_count_for_it() {
    let now = Instant::now();
    let mut units = Units::default();
    tell(&mut units, NGINX, now, None);
    let restarted = of_service(now + seconds(1), NGINX);

    let at_first = units.of(&restarted, now + seconds(1));

    assert!(waits(&at_first), "{at_first:?}");
    tell(&mut units, NGINX, now + seconds(1), Some("off"));
    assert_eq!(units.of(&restarted, now + seconds(1)), known(&["off"]));
}

#[test]
fn a_listener_that_another_service_takes_over_does_not_wait() {
    let now = Instant::now();
    let mut units = Units::default();
    let lent = listener(now, vec![holder(9, &["ssh.service"]), holder(1, &["init.scope"])]);

    assert_eq!(units.of(&lent, now + seconds(60)), known(&[]));
    tell(&mut units, "ssh.service", now + seconds(60), Some("host"));
    assert_eq!(units.of(&lent, now + seconds(60)), known(&["host"]));
}

#[test]
fn all_services_that_hold_a_listener_are_heard() {
    let now = Instant::now();
    let listener = listener(now, vec![holder(1, &["a.service"]), holder(2, &["b.service"])]);
    let mut units = Units::default();

    tell(&mut units, "a.service", now, Some("host"));
    let half = units.of(&listener, now);
    assert!(waits(&half), "{half:?}");
    tell(&mut units, "b.service", now, Some("off"));

    assert_eq!(units.of(&listener, now), known(&["host", "off"]));
}

#[test]
fn an_error_counts_as_silence_and_takes_nothing_back() {
    let now = Instant::now();
    let mut units = Units::default();
    fail(&mut units, NGINX, now);
    assert_eq!(units.of(&of_service(now, NGINX), now), known(&[]));
    assert_eq!(units.trouble(), Some("no bus"));

    tell(&mut units, NGINX, now, Some("off"));
    assert_eq!(units.trouble(), None);
    fail(&mut units, NGINX, now + seconds(1));

    let restarted = of_service(now + seconds(1), NGINX);
    assert_eq!(units.of(&restarted, now + seconds(1)), known(&["off"]));
    assert_eq!(units.trouble(), Some("no bus"));
}

#[test]
fn a_service_is_asked_again_as_soon_as_there_is_a_reason() {
    let now = Instant::now();
    let first = demand(&[of_service(now, NGINX)]);
    let mut units = Units::default();
    let due_in = |units: &Units, demand: &Demand| {
        let next = units.next(demand).map(|next| next - now);
        let is_due = |at: Duration| !units.due(demand, now + at).is_empty();
        assert!(next.is_none_or(|next| is_due(next) && (next.is_zero() || !is_due(next - seconds(1)))));
        next
    };

    assert_eq!(due_in(&units, &first), Some(seconds(0)), "it was never asked");
    fail(&mut units, NGINX, now);
    assert_eq!(due_in(&units, &first), Some(RETRY), "after an error");
    tell(&mut units, NGINX, now, None);
    assert_eq!(due_in(&units, &first), Some(REFRESH), "after an answer");
    let restarted = demand(&[listener(now, vec![holder(2, &[NGINX])])]);
    assert_eq!(due_in(&units, &restarted), Some(RESTARTED), "after a restart");
    let new = demand(&[of_service(now + seconds(5), NGINX)]);
    assert_eq!(due_in(&units, &new), Some(seconds(5)), "for a new listener");
    assert_eq!(due_in(&units, &Demand::new()), None);
}

#[test]
fn workers_that_come_and_go_neither_wait_nor_hurry() {
    let now = Instant::now();
    let mut units = Units::default();
    tell(&mut units, NGINX, now, Some("host"));

    let forked = listener(now, vec![holder(1, &[NGINX]), holder(900, &[NGINX])]);
    let ended = listener(now, vec![holder(0, &[NGINX])]);

    assert_eq!(units.of(&forked, now), known(&["host"]));
    assert_eq!(units.next(&demand(&[forked])), Some(now + RESTARTED));
    assert_eq!(units.next(&demand(&[ended])), Some(now + REFRESH));
}

#[test]
fn nothing_is_kept_of_services_without_listeners() {
    let now = Instant::now();
    let mut units = Units::default();
    tell(&mut units, "a.service", now, Some("off"));
    tell(&mut units, "b.service", now, Some("off"));

    units.keep(&demand(&[of_service(now, "b.service")]));

    assert_eq!(Vec::from_iter(units.told.keys()), ["b.service"]);
}

#[test]
fn a_moments_wait_is_for_what_is_new_only() {
    let now = Instant::now();
    let wanted = demand(&[of_service(now, NGINX)]);
    let mut units = Units::default();

    assert!(!units.is_settled(&wanted, now + seconds(60)), "nobody was asked");
    fail(&mut units, NGINX, now - seconds(1));
    assert!(!units.is_settled(&wanted, now), "the listener is newer");
    assert!(units.is_settled(&wanted, now + PATIENCE), "it has waited");
    fail(&mut units, NGINX, now);
    assert!(units.is_settled(&wanted, now), "there is an answer");
}
