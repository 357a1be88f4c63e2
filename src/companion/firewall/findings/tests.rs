//! What each trouble with the firewall comes to.

use super::*;
use crate::firewall::{Installation, Rule, program_rules};

const IMAGE: &str = r"C:\Program Files\wslnet\wslnet-companion.exe";

fn question() -> Question<'static> {
    Question {
        image: Path::new(IMAGE),
        used: Categories::TRUSTED,
        backend: Backend::Relay,
        udp: true,
        unreached: Some(9756),
    }
}

fn installed() -> Look {
    let rules = program_rules(Installation {
        program: Path::new(IMAGE),
        control_port: 9756,
        networks: Categories::TRUSTED,
    });
    let rules: Vec<Properties> = rules.iter().map(Rule::properties).collect();
    Look {
        service: Service::Running(None),
        profiles: Category::ALL
            .map(|category| Profile {
                category,
                enabled: true,
                blocks_all: false,
            })
            .into(),
        policies: vec![],
        void: None,
        ours: rules.clone(),
        image: rules,
    }
}

fn found(change: impl FnOnce(&mut Look)) -> Vec<Finding> {
    let mut look = installed();
    change(&mut look);
    findings(&Ok(look), question())
}

/// One finding, with these words in it.
#[track_caller]
fn assert_one(found: &[Finding], keeps_clients_out: bool, words: &[&str]) {
    let [finding] = found else { panic!("{found:?}") };
    assert_eq!(finding.keeps_clients_out, keeps_clients_out, "{finding:?}");
    for word in words {
        assert!(
            finding.what.contains(word) || finding.fix.contains(word),
            "{word} in {finding:?}"
        );
    }
}

#[test]
fn after_an_installation_there_is_nothing_to_say() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn a_rule_that_blocks_the_program_is_named_though_others_allow_it() {
    let block = |protocol, profiles| Properties {
        name: "wslnet-companion.exe".into(),
        application: IMAGE.to_lowercase(),
        protocol,
        local_ports: "*".into(),
        profiles,
        inbound: true,
        allow: false,
        enabled: true,
        ..Properties::default()
    };

    let two = found(|look| look.image.extend([block(6, 2), block(17, 2)]));
    assert_one(&two, true, &["2 rule(s)", "`wslnet-companion.exe`", "wf.msc"]);
    assert_eq!(
        found(|look| look.image.push(block(6, 4))),
        [],
        "in networks that are not in use"
    );
    let off = Properties {
        enabled: false,
        ..block(6, 2)
    };
    assert_eq!(found(|look| look.image.push(off)), []);
}

#[test]
fn without_a_rule_for_the_program_install_is_the_way_out() {
    let all = found(|look| look.image.clear());

    assert_eq!(all.len(), 3, "{all:?}");
    assert!(
        all.iter()
            .all(|finding| finding.fix.contains("wslnet-companion install"))
    );
    assert!(all[0].what.contains("TCP") && all[1].what.contains("UDP") && all[2].what.contains("9756"));
    assert_eq!(
        all.iter()
            .map(|finding| finding.keeps_clients_out)
            .collect::<Vec<_>>(),
        [true, true, false]
    );
}

#[test]
fn a_rule_for_the_control_port_alone_lets_no_clients_in_and_one_for_clients_no_distros() {
    let only = |name: &'static str| found(move |look| look.image.retain(|rule| rule.name.contains(name)));

    assert_eq!(only("control").len(), 2);
    assert_one(&only("relay"), false, &["9756", "public"]);
}

#[test]
fn a_distro_that_came_through_proves_the_control_port() {
    let mut look = installed();
    look.image.retain(|rule| rule.name.contains("relay"));
    let reached = Question {
        unreached: None,
        ..question()
    };

    assert_eq!(findings(&Ok(look), reached), []);
}

#[test]
fn networks_that_the_rules_do_not_cover_are_named() {
    let public = Question {
        used: Categories::ALL,
        udp: false,
        ..question()
    };

    assert_one(
        &findings(&Ok(installed()), public),
        true,
        &["TCP", "that are public", "install"],
    );
}

#[test]
fn policies_count_in_the_networks_that_they_are_for() {
    let policy = |category| Policy {
        origin: Origin::GroupPolicy,
        key: r"SOFTWARE\Policies\Microsoft\WindowsFirewall\X".into(),
        value: "AllowLocalPolicyMerge",
        category,
    };

    assert_one(
        &found(|look| look.policies.push(policy(Some(Category::Domain)))),
        true,
        &["void", "AllowLocalPolicyMerge", r"HKLM\SOFTWARE"],
    );
    assert_one(&found(|look| look.policies.push(policy(None))), true, &["void"]);
    assert_eq!(
        found(|look| look.policies.push(policy(Some(Category::Public)))),
        []
    );
    assert_one(
        &found(|look| look.void = Some(Void::GroupPolicy)),
        false,
        &["group policy"],
    );
    assert_one(
        &found(|look| look.void = Some(Void::AllBlocked)),
        true,
        &["Block all"],
    );
    assert_one(
        &found(|look| look.profiles[0].blocks_all = true),
        true,
        &["private networks"],
    );
}

#[test]
fn what_somebody_has_set_at_this_machine_is_no_group_policy_and_told_once() {
    let local = Policy {
        origin: Origin::Local,
        key: r"SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\PublicProfile".into(),
        value: "DoNotAllowExceptions",
        category: Some(Category::Private),
    };

    let set = found(|look| look.policies.push(local.clone()));
    assert_one(
        &set,
        true,
        &["a setting of this machine", "DoNotAllowExceptions", "untick"],
    );
    assert!(!set[0].what.contains("group policy") && !set[0].fix.contains("whoever administers"));

    // Windows says the same of the profile.
    let told = found(|look| {
        look.profiles[0].blocks_all = true;
        look.policies.push(local.clone());
    });
    assert_one(&told, true, &["private networks", "untick"]);

    // And group policy may override something beside it.
    let both = found(|look| {
        look.void = Some(Void::GroupPolicy);
        look.policies.push(local.clone());
    });
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[1].what.contains("group policy overrides"), "{both:?}");
}

#[test]
fn a_firewall_that_is_off_or_does_not_answer_is_another_matter() {
    assert_one(&found(|look| look.service = Service::Stopped), false, &["mpssvc"]);
    let off = found(|look| {
        look.image.clear();
        look.profiles
            .iter_mut()
            .for_each(|profile| profile.enabled = false);
    });
    assert_eq!(off, [], "nothing is kept out by what is off");
    let unknown = found(|look| {
        look.image.clear();
        look.profiles.clear();
    });
    assert_eq!(
        unknown,
        [],
        "and nothing is claimed where Windows tells nothing, as under Wine"
    );
    assert_one(
        &findings(&Err(StoreError::NoAnswer), question()),
        false,
        &["does not answer"],
    );
}

#[test]
fn with_portproxy_the_programs_own_rules_matter_to_the_control_port_alone() {
    let portproxy = Question {
        backend: Backend::Portproxy,
        ..question()
    };
    let mut look = installed();
    look.image.clear();

    assert_one(&findings(&Ok(look), portproxy), false, &["9756"]);
}
