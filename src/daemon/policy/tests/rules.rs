//! In which order opt-outs, rules and what programs say decide.

use super::*;

#[test]
fn the_first_selector_that_matches_is_the_reason() {
    let policy = policy("opt-out = [\n  \"port=1\",\n  \"port=80-89\",\n  \"bind=wildcard\",\n]\n");

    let verdict = decide(&policy, &socket(1, "0.0.0.0:80"), &by_v4());

    let Verdict::Withhold { reason, decided_by } = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(reason, "opted out by \"port=80-89\" (/etc/wslnetd/config.toml:3)");
    assert_eq!(
        decided_by.to_string(),
        "opt-out \"port=80-89\" at /etc/wslnetd/config.toml:3:3"
    );
}

#[test]
fn the_first_rule_that_matches_counts_and_no_other() {
    let config = concat!(
        "[[rule]]\nwhen = \"port=8000,process=node\"\nname = \"shop\"\nlisten-port = 80\n",
        "[[rule]]\nwhen = \"port=8000-8999\"\nreach = \"host\"\nlisten-port = \"auto\"\n",
        "[[rule]]\nwhen = \"process=node\"\nexpose = false\n",
    );
    let tell = |port: u16, process: &str| {
        let socket = socket(1, &format!("0.0.0.0:{port}"));
        told(&with_labels(
            config,
            &socket,
            &[("process", process)],
            &Declared::Known,
        ))
    };

    assert_eq!(
        tell(8000, "node"),
        "Dial(Wildcard) Fixed(80) lan shop [the rule for \"port=8000,process=node\" at /etc/wslnetd/config.toml:2:8]"
    );
    assert_eq!(
        tell(8001, "node"),
        "Dial(Wildcard) Auto host - [the rule for \"port=8000-8999\" at /etc/wslnetd/config.toml:6:8]"
    );
    assert_eq!(
        tell(9000, "node"),
        "kept private by the rule for \"process=node\" (/etc/wslnetd/config.toml:10) [the rule for \"process=node\" at /etc/wslnetd/config.toml:10:8]"
    );
    assert_eq!(
        tell(9000, "ruby"),
        "Dial(Wildcard) Same lan - [the default: what is not opted out is shared]"
    );
}

#[test]
fn a_rule_can_opt_a_case_back_in_and_only_by_saying_so() {
    let config =
        |word: &str| format!("opt-out = [\"process=redis\"]\n[[rule]]\nwhen = \"port=7000\"\n{word}\n");
    let redis = [("process", "redis")];
    let verdict =
        |word: &str, address: &str| with_labels(&config(word), &socket(1, address), &redis, &Declared::Known);

    assert!(verdict("expose = true", "0.0.0.0:7000").is_expose());
    assert!(!verdict("expose = true", "0.0.0.0:7001").is_expose());
    let kept = verdict("name = \"cache\"", "0.0.0.0:7000");
    assert!(
        told(&kept).starts_with("opted out by \"process=redis\""),
        "{kept:?}"
    );
}

#[test]
fn a_program_can_keep_itself_private_and_narrow_what_rules_say() {
    let rule = "[[rule]]\nwhen = \"port=80\"\nexpose = true\nreach = \"lan\"\nname = \"site\"\n";
    let tell = |config: &str, says: &str| {
        let verdict = with_labels(
            config,
            &socket(1, "0.0.0.0:80"),
            &[("wslnetd", says)],
            &Declared::Known,
        );
        told(&verdict)
    };

    for config in ["", rule] {
        assert!(tell(config, "off").starts_with("it says WSLNETD=off itself"));
        assert!(tell(config, "of").contains("and `of` means nothing here"));
    }
    assert!(tell("", "host,name=shop").starts_with("Dial(Wildcard) Same host shop"));
    assert!(tell(rule, "host,name=shop").starts_with("Dial(Wildcard) Same host site"));
    assert!(tell("[expose]\nreach = \"host\"\n", "lan").starts_with("Dial(Wildcard) Same lan -"));
    let narrow = "[[rule]]\nwhen = \"port=80\"\nreach = \"host\"\n";
    assert!(tell(narrow, "lan").starts_with("Dial(Wildcard) Same host -"));
}

#[test]
fn until_it_is_known_what_a_program_says_it_stays_private() {
    let unreadable = Declared::Unreadable {
        reason: "it blocks".to_owned(),
    };
    let verdict =
        |config: &str, declared: &Declared| with_labels(config, &socket(1, "0.0.0.0:80"), &[], declared);

    assert!(matches!(verdict("", &Declared::Pending), Verdict::Wait { .. }));
    assert_eq!(
        told(&verdict("", &unreadable)),
        "its environment cannot be read, and may say WSLNETD=off: it blocks [what the program says of itself]"
    );
    // Who is private anyway is told the reason that can be mended.
    let opted = verdict("opt-out = [\"port=80\"]\n", &Declared::Pending);
    assert!(told(&opted).starts_with("opted out by"), "{opted:?}");
}
