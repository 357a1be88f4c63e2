//! What should be there × what is there × what is ours → what to do to the entries. Pure.
//!
//! An entry is ours if the journal has it and its text is what we wrote. Whatever else is there is somebody else's and is never
//! touched, not even if it says exactly what we would say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::journal::Ours;
use crate::host::PortHolder;
use crate::host::portproxy::{Found, Table};

/// What was seen of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The entries of the registry, everybody's.
    pub found: &'a [Found],
    /// The journal.
    pub ours: &'a Ours,
    /// Who listens.
    pub listeners: &'a [PortHolder],
    /// The process of IP Helper, as far as it is known. That it listens says nothing: the entries say for whom.
    pub helper: Option<u32>,
}

/// What to do, and what was found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Ours, and to be removed.
    pub remove: BTreeSet<SocketAddr>,
    /// Ours, and in place as wanted.
    pub stand: BTreeSet<SocketAddr>,
    /// In the journal, and not in the registry.
    pub missing: BTreeSet<SocketAddr>,
    /// In the journal, and somebody else's by now, as it is there now.
    pub changed: BTreeMap<SocketAddr, Found>,
    /// To be made.
    pub add: BTreeSet<SocketAddr>,
    /// Wanted, and somebody else is there.
    pub blocked: BTreeMap<SocketAddr, Blocked>,
}

/// Who else is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// An entry.
    Entry(Found),
    /// A listener.
    Listener(PortHolder),
}

/// Decides what to do about the entries so that they become those of `wanted`.
pub fn decide(wanted: &Ours, look: Look<'_>) -> Round {
    let mut round = Round::default();
    // Which of the found ones are ours, by their places.
    let mut own = BTreeSet::new();
    let places = by_place(look.found);
    for (listen, mine) in look.ours {
        let entry = mine.entry(*listen);
        let there = places.get(&(entry.table, entry.name.to_ascii_lowercase()));
        match there {
            None => drop(round.missing.insert(*listen)),
            Some(&index) if look.found[index].is(&entry) => {
                own.insert(index);
                let stays = wanted.get(listen).is_some_and(|w| w.connect == mine.connect);
                if stays {
                    round.stand.insert(*listen);
                } else {
                    round.remove.insert(*listen);
                }
            }
            Some(&index) => drop(round.changed.insert(*listen, look.found[index].clone())),
        }
    }
    let mut foreign: BTreeMap<u16, Vec<&Found>> = BTreeMap::new();
    for (index, found) in look.found.iter().enumerate() {
        if let Some(port) = port_of(found).filter(|_| !own.contains(&index)) {
            foreign.entry(port).or_default().push(found);
        }
    }
    let mut listeners: BTreeMap<u16, Vec<&PortHolder>> = BTreeMap::new();
    for holder in look.listeners {
        if look.helper.is_none() || holder.pid != look.helper {
            listeners.entry(holder.address.port()).or_default().push(holder);
        }
    }
    for listen in wanted.keys().filter(|listen| !round.stand.contains(listen)) {
        let entries = foreign.get(&listen.port()).map_or(&[][..], Vec::as_slice);
        let holders = listeners.get(&listen.port()).map_or(&[][..], Vec::as_slice);
        // Where an entry of ours is to be replaced, IP Helper listens for that one.
        let is_replaced = round.remove.contains(listen);
        let blocked = entries
            .iter()
            .find(|found| found.takes(*listen))
            .map(|found| Blocked::Entry((*found).clone()))
            .or_else(|| {
                let holder = holders.iter().find(|holder| holder.is_in_the_way_of(*listen))?;
                (!is_replaced).then(|| Blocked::Listener((*holder).clone()))
            });
        match blocked {
            Some(blocked) => drop(round.blocked.insert(*listen, blocked)),
            None => drop(round.add.insert(*listen)),
        }
    }
    round
}

/// The found entries by table and name, in lower case as the registry compares names.
fn by_place(found: &[Found]) -> BTreeMap<(Table, String), usize> {
    let place = |(index, found): (usize, &Found)| ((found.table, found.name.to_ascii_lowercase()), index);
    found.iter().enumerate().map(place).collect()
}

fn port_of(found: &Found) -> Option<u16> {
    found.name.rsplit_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::super::journal::Mine;
    use super::*;

    const LAN: &str = "192.168.1.20:8000";

    #[test]
    fn what_is_wanted_is_added_and_what_is_not_is_removed() {
        let other = "192.168.1.20:9000";
        let (wanted, ours) = (
            set(&[(LAN, "172.20.0.2:8000")]),
            set(&[(other, "172.20.0.2:9000")]),
        );
        let found = [found("192.168.1.20/9000", "172.20.0.2/9000")];

        let round = decide(&wanted, look(&found, &ours, &[]));

        let expected = Round {
            add: listens(&[LAN]),
            remove: listens(&[other]),
            ..Round::default()
        };
        assert_eq!(round, expected);
    }

    #[test]
    fn what_is_in_place_stays_whoever_it_is_for() {
        let wanted = set(&[(LAN, "172.20.0.2:8000")]);
        let mut ours = wanted.clone();
        ours.get_mut(&LAN.parse().unwrap()).unwrap().distro = "another".into();
        let found = [found("192.168.1.20/8000", "172.20.0.2/8000")];
        // IP Helper listens for it.
        let helper = [holder(LAN, None)];

        let round = decide(&wanted, look(&found, &ours, &helper));

        let expected = Round {
            stand: listens(&[LAN]),
            ..Round::default()
        };
        assert_eq!(round, expected);
    }

    #[test]
    fn another_target_means_another_entry_though_ip_helper_listens_for_the_former_one() {
        let (wanted, ours) = (set(&[(LAN, "172.20.0.3:8000")]), set(&[(LAN, "172.20.0.2:8000")]));
        let found = [found("192.168.1.20/8000", "172.20.0.2/8000")];

        let round = decide(&wanted, look(&found, &ours, &[holder(LAN, None)]));

        let expected = Round {
            remove: listens(&[LAN]),
            add: listens(&[LAN]),
            ..Round::default()
        };
        assert_eq!(round, expected);
    }

    #[test]
    fn an_entry_that_the_journal_does_not_have_is_somebody_elses_even_if_it_says_the_same() {
        let wanted = set(&[(LAN, "172.20.0.2:8000")]);
        for name in ["192.168.1.20/8000", "*/8000"] {
            let found = [found(name, "172.20.0.2/8000")];

            let round = decide(&wanted, look(&found, &Ours::new(), &[]));

            let blocked = Blocked::Entry(found[0].clone());
            let expected = Round {
                blocked: [(LAN.parse().unwrap(), blocked)].into(),
                ..Round::default()
            };
            assert_eq!(round, expected);
        }
    }

    #[test]
    fn an_entry_of_ours_with_another_text_is_ours_no_more() {
        let ours = set(&[(LAN, "172.20.0.2:8000")]);
        let changed = [found("192.168.1.20/8000", "10.9.9.9/8000")];
        for wanted in [Ours::new(), ours.clone()] {
            let round = decide(&wanted, look(&changed, &ours, &[]));

            assert_eq!(round.changed, [(LAN.parse().unwrap(), changed[0].clone())].into());
            assert!(round.remove.is_empty() && round.add.is_empty());
            assert_eq!(round.blocked.len(), wanted.len());
        }
    }

    #[test]
    fn what_the_registry_does_not_have_is_missing_and_made_again_if_it_is_wanted() {
        let ours = set(&[(LAN, "172.20.0.2:8000")]);

        let gone = decide(&Ours::new(), look(&[], &ours, &[]));
        let wanted = decide(&ours, look(&[], &ours, &[]));

        assert_eq!((gone.missing, gone.add), (listens(&[LAN]), listens(&[])));
        assert_eq!((wanted.missing, wanted.add), (listens(&[LAN]), listens(&[LAN])));
    }

    #[test]
    fn a_listener_is_in_the_way_unless_it_is_ip_helpers() {
        let (wanted, none) = (set(&[(LAN, "172.20.0.2:8000")]), Ours::new());
        for at in [LAN, "0.0.0.0:8000"] {
            let theirs = [holder(at, Some(7))];

            let held = decide(&wanted, look(&[], &none, &theirs));
            let helpers = Look {
                helper: Some(7),
                ..look(&[], &none, &theirs)
            };
            let free = decide(&wanted, helpers);

            let blocked = Blocked::Listener(theirs[0].clone());
            assert_eq!(held.blocked, [(LAN.parse().unwrap(), blocked)].into());
            assert_eq!((free.blocked.len(), free.add), (0, listens(&[LAN])));
        }
        let elsewhere = [
            holder("192.168.1.21:8000", None),
            holder("192.168.1.20:8001", None),
        ];
        let round = decide(&wanted, look(&[], &none, &elsewhere));
        assert_eq!(round.add, listens(&[LAN]));
    }

    fn look<'a>(found: &'a [Found], ours: &'a Ours, listeners: &'a [PortHolder]) -> Look<'a> {
        Look {
            found,
            ours,
            listeners,
            helper: None,
        }
    }

    fn found(name: &str, content: &str) -> Found {
        Found {
            table: Table::V4ToV4,
            name: name.into(),
            content: Some(content.into()),
        }
    }

    fn holder(address: &str, pid: Option<u32>) -> PortHolder {
        PortHolder {
            address: address.parse().unwrap(),
            pid,
            image: None,
        }
    }

    fn set(entries: &[(&str, &str)]) -> Ours {
        let mine = |(listen, connect): &(&str, &str)| {
            let mine = Mine {
                connect: connect.parse().unwrap(),
                distro: "ubuntu".into(),
                vm: "boot".into(),
            };
            (listen.parse().unwrap(), mine)
        };
        entries.iter().map(mine).collect()
    }

    fn listens(listens: &[&str]) -> BTreeSet<SocketAddr> {
        listens.iter().map(|listen| listen.parse().unwrap()).collect()
    }
}
