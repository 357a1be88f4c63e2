//! What separates the rules that are there from those that should be. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Properties, Rule};

/// What to do, removals first: a rule that differs is removed and made anew, because Windows would keep both under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The names of those that go.
    pub remove: BTreeSet<String>,
    /// Those that come.
    pub add: Vec<Rule>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}

/// What turns `there`, which are rules of our group, into `wanted`. Of several under one name none counts as the right one.
pub fn changes(wanted: &[Rule], there: &[Properties]) -> Changes {
    let mut by_name: BTreeMap<&str, Vec<&Properties>> = BTreeMap::new();
    for properties in there {
        by_name.entry(&properties.name).or_default().push(properties);
    }
    let stands = |rule: &Rule| match by_name.get(rule.name.as_str()).map(Vec::as_slice) {
        Some([only]) => Rule::from_properties(only).as_ref() == Some(rule),
        _ => false,
    };
    let (right, add): (Vec<_>, Vec<_>) = wanted.iter().cloned().partition(stands);
    let right: BTreeSet<&str> = right.iter().map(|rule| rule.name.as_str()).collect();
    let remove = by_name.into_keys().filter(|name| !right.contains(name));
    Changes {
        remove: remove.map(str::to_owned).collect(),
        add,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Categories;
    use proptest::prelude::*;
    use wslnet_protocol::Protocol;

    #[test]
    fn what_is_right_stays_what_differs_is_made_anew_and_the_rest_goes() {
        let there = [
            rule("right", 1).properties(),
            rule("differs", 2).properties(),
            rule("old", 3).properties(),
            rule("twice", 4).properties(),
            rule("twice", 4).properties(),
            Properties {
                enabled: false,
                ..rule("off", 5).properties()
            },
        ];
        let wanted = [
            rule("right", 1),
            rule("differs", 22),
            rule("twice", 4),
            rule("off", 5),
            rule("new", 6),
        ];

        let changes = changes(&wanted, &there);

        assert_eq!(
            changes.remove,
            ["differs", "off", "old", "twice"].map(str::to_owned).into()
        );
        assert_eq!(changes.add, wanted[1..]);
    }

    proptest! {
        #[test]
        fn once_made_there_is_nothing_left_to_do(
            wanted in proptest::collection::btree_map("[a-e]", 1_u16..4, 0..5),
            there in proptest::collection::vec(("[a-e]", 1_u16..4), 0..6),
        ) {
            let wanted: Vec<Rule> = wanted.iter().map(|(name, port)| rule(name, *port)).collect();
            let mut there: Vec<Properties> = there.iter().map(|(name, port)| rule(name, *port).properties()).collect();

            let todo = changes(&wanted, &there);
            there.retain(|properties| !todo.remove.contains(&properties.name));
            there.extend(todo.add.iter().map(Rule::properties));

            prop_assert!(changes(&wanted, &there).is_empty());
            let left: BTreeSet<String> = there.iter().map(|properties| properties.name.clone()).collect();
            prop_assert_eq!(left.len(), there.len());
            prop_assert_eq!(left, wanted.iter().map(|rule| rule.name.clone()).collect());
        }
    }

    fn rule(name: &str, port: u16) -> Rule {
        Rule {
            name: name.to_owned(),
            description: String::new(),
            program: None,
            service: None,
            protocol: Protocol::Tcp,
            local_ports: [port].into(),
            local_addresses: BTreeSet::new(),
            remote_addresses: BTreeSet::new(),
            profiles: Categories::TRUSTED,
        }
    }
}
