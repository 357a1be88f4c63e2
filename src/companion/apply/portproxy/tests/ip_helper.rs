//! IP Helper, where it is not there, does not answer, or was not told.

use super::*;

#[tokio::test]
async fn without_ip_helper_nothing_is_made_and_the_reason_says_what_to_do() {
    for (state, fix) in [
        ("stopped", "sc start iphlpsvc"),
        ("disabled", "sc config iphlpsvc"),
        ("missing", "backend = \"relay\""),
    ] {
        let bench = Bench::with(&format!("service = \"{state}\"\n"));
        let mut portproxy = bench.portproxy();

        portproxy.apply(opened(&[LAN]), vms()).await;

        let failure = failure(&portproxy);
        assert!(
            failure.reason.contains(fix) && failure.stuck.is_none(),
            "{failure:?}"
        );
        assert_eq!(bench.entry("v4tov4", NAME), None);

        bench.plant("service = \"running\"\n");
        portproxy.apply(vec![], vms()).await;
        assert_eq!(listening(&portproxy), listens(&[LAN]));

        // It stops while the entry is there: the entry stays, the state says why it is of no use.
        bench.replace("\"running\"", "\"stopped\"");
        portproxy.apply(vec![], vms()).await;
        assert_eq!(listening(&portproxy), listens(&[]));
        assert!(bench.entry("v4tov4", NAME).is_some());
    }
}

#[tokio::test]
async fn a_windows_that_does_not_answer_for_ip_helper_holds_nothing_up_and_is_told_later() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    portproxy.apply(opened(&[LAN, LAN6]), vms()).await;
    let unlisten = Action::Unlisten {
        key: KEY,
        address: LAN6.parse().unwrap(),
    };
    bench.replace("answers = true", "answers = false");

    portproxy.apply(vec![unlisten], vms()).await;

    assert_eq!(
        listening(&portproxy),
        listens(&[LAN]),
        "what stands goes on standing"
    );
    assert_eq!(bench.entry("v6tov4", "2001:db8::20/8000"), None);
    assert_eq!(bench.reloads(), 1);
    bench.replace("answers = false", "answers = true");
    portproxy.apply(vec![], vms()).await;
    assert_eq!(bench.reloads(), 2);
}

#[tokio::test]
async fn what_a_killed_run_left_behind_is_removed_though_nobody_answers_for_ip_helper() {
    let bench = Bench::new();
    bench.portproxy().apply(opened(&[LAN]), vms()).await;
    bench.replace("answers = true", "answers = false");

    let cleared = clear(bench.dir());

    assert_eq!(cleared.removed.len(), 1);
    assert!(
        cleared
            .left
            .is_some_and(|left| left.contains("could not be told"))
    );
    assert_eq!(bench.entry("v4tov4", NAME), None);
}

#[tokio::test]
async fn ip_helper_is_told_of_the_last_removal_too_should_it_not_answer_then() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    portproxy.apply(opened(&[LAN]), vms()).await;
    bench.replace("answers = true", "answers = false");

    portproxy.apply(vec![close()], vms()).await;

    let later = host::awake().checked_add(LOOK).unwrap();
    assert!(portproxy.is_due(later) && !portproxy.is_idle());
    bench.replace("answers = false", "answers = true");
    portproxy.apply(vec![], vms()).await;
    assert_eq!(bench.reloads(), 2);
    assert!(portproxy.is_idle());
}

#[tokio::test]
async fn what_ip_helper_was_not_told_at_the_end_the_next_run_or_a_purge_tells() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    portproxy.apply(opened(&[LAN]), vms()).await;
    bench.replace("answers = true", "answers = false");

    let cleared = portproxy.close_all();
    portproxy.close_rules().await;
    drop(portproxy);

    assert!(
        cleared
            .left
            .is_some_and(|left| left.contains("could not be told"))
    );
    assert!(clear(bench.dir()).left.is_some(), "it still does not answer");
    assert!(!bench.portproxy().is_idle());
    assert!(
        Portproxy::leftovers(bench.dir()).is_some(),
        "whatever the backend is"
    );
    bench.replace("answers = false", "answers = true");
    assert_eq!(clear(bench.dir()), Cleared::default());
    assert_eq!(bench.reloads(), 2);
    assert!(Portproxy::leftovers(bench.dir()).is_none());
    clear(bench.dir());
    assert_eq!(bench.reloads(), 2, "once");
}

#[tokio::test]
async fn while_the_state_of_ip_helper_was_never_known_nothing_is_made() {
    let bench = Bench::with("answers = false\n");
    let mut portproxy = bench.portproxy();

    portproxy.apply(opened(&[LAN]), vms()).await;

    assert!(failure(&portproxy).reason.contains("cannot be looked at"));
    assert_eq!(bench.entry("v4tov4", NAME), None);
    bench.plant("");
    portproxy.apply(vec![], vms()).await;
    assert_eq!(listening(&portproxy), listens(&[LAN]));
}
