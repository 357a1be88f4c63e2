//! Which networks forwards listen in.

use super::*;
use crate::host::{Categories, Category};

fn at_home_and_in_a_cafe(cafe: Option<Category>) -> Vec<Interface> {
    let cafe = Interface {
        index: 7,
        category: cafe,
        ..interface("Wi-Fi", &[("10.9.8.7", 24)])
    };
    vec![lan(), cafe, vm()]
}

fn vm() -> Interface {
    interface("vEthernet (WSL)", &[("172.20.0.1", 20)])
}

fn control() -> ControlPorts {
    ControlPorts::only(Bench::new().control)
}

fn policy(networks: Categories) -> Policy {
    Policy {
        networks,
        ..Policy::default()
    }
}

#[test]
fn a_public_network_and_one_of_which_nothing_is_known_are_left_out() {
    for category in [Some(Category::Public), None] {
        let interfaces = at_home_and_in_a_cafe(category);
        let policy = Policy::default();

        let addresses = lan_addresses(&interfaces, &control(), &policy);
        let left_out = left_out(&interfaces, &control(), &policy);

        assert_eq!(addresses, lan_addresses(&[lan(), vm()], &control(), &policy));
        let [wifi] = left_out.as_slice() else {
            panic!("{left_out:?}")
        };
        let reason = wifi.reason();
        for part in ["Wi-Fi", "-InterfaceIndex 7", "\"public\" to `networks`"] {
            assert!(reason.contains(part), "{part} in {reason}");
        }
    }
}

#[test]
fn each_list_of_categories_admits_just_these_and_any_asks_for_none() {
    for category in Category::ALL {
        let interfaces = at_home_and_in_a_cafe(Some(category));
        let is_open = |networks| {
            let addresses = lan_addresses(&interfaces, &control(), &policy(networks));
            addresses.contains(&"10.9.8.7".parse().unwrap())
        };

        for only in Category::ALL {
            assert_eq!(is_open([only].into_iter().collect()), only == category);
        }
        assert!(is_open(Categories::ALL));
    }
    let unknown = at_home_and_in_a_cafe(None);
    assert_eq!(left_out(&unknown, &control(), &policy(Categories::ALL)), []);
    assert_eq!(
        lan_addresses(&unknown, &control(), &policy(Categories::ALL)).len(),
        3
    );
}

#[test]
fn what_is_excluded_or_down_or_the_vms_own_is_not_said_to_be_left_out_for_its_network() {
    let mut interfaces = at_home_and_in_a_cafe(Some(Category::Public));
    interfaces[1].up = false;
    interfaces[2].category = Some(Category::Public);

    assert_eq!(left_out(&interfaces, &control(), &Policy::default()), []);
}

#[test]
fn a_forward_without_any_network_says_why_and_what_helps() {
    let mut bench = Bench::new();
    bench.interfaces = vec![
        Interface {
            category: Some(Category::Public),
            ..lan()
        },
        vm(),
    ];
    bench.put("debian", &[forward(1, 8000)], &[]);

    bench.settle(false);

    bench.expect(
        "debian",
        1,
        ForwardState::Pending,
        "`Ethernet` is in a public network",
    );
    bench.expect("debian", 1, ForwardState::Pending, "Set-NetConnectionProfile");

    bench.interfaces[0].category = Some(Category::Domain);
    bench.settle(false);
    bench.expect("debian", 1, ForwardState::Active, "");
}
