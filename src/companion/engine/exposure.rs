//! What an administrator wants to find again: who has put what on the network, and when it went. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;

use wslnet_console::text::clean;
use wslnet_protocol::{Forward, ForwardId, ForwardState, ForwardStatus, limits};

/// How many forwards are named in one text; the others are counted.
const NAMED: usize = 20;

/// What is different between two sets of states of a distro's forwards, in a text for people; `None` if nothing is.
/// `forwards` are those that the later states are of: they say who it is.
pub(super) fn change<'a>(
    before: &[ForwardStatus],
    after: &[ForwardStatus],
    forwards: impl Iterator<Item = &'a Forward>,
) -> Option<String> {
    let (before, after) = (open(before), open(after));
    let who: BTreeMap<ForwardId, &Forward> = forwards.map(|forward| (forward.id, forward)).collect();
    let mut text = String::new();
    tell(&mut text, "opened", after.difference(&before), &who);
    tell(&mut text, "closed", before.difference(&after), &who);
    (!text.is_empty()).then_some(text)
}

/// Where each active forward is open; `None` stands for one that Windows reaches without listening for it.
type Open = BTreeSet<(ForwardId, Option<SocketAddr>)>;

fn open(states: &[ForwardStatus]) -> Open {
    let active = states
        .iter()
        .filter(|status| status.state == ForwardState::Active);
    active
        .flat_map(|status| {
            let listens = status.listen.iter().map(|address| (status.id, Some(*address)));
            listens.chain(status.listen.is_empty().then_some((status.id, None)))
        })
        .collect()
}

fn tell<'a>(
    text: &mut String,
    what: &str,
    places: impl Iterator<Item = &'a (ForwardId, Option<SocketAddr>)>,
    who: &BTreeMap<ForwardId, &Forward>,
) {
    let places: Vec<_> = places.collect();
    // Writing to a string cannot fail.
    for (index, (id, address)) in places.iter().take(NAMED).enumerate() {
        let _ = match index {
            0 if text.is_empty() => write!(text, "{what} "),
            0 => write!(text, "; {what} "),
            _ => write!(text, ", "),
        };
        let forward = who.get(id);
        if let Some(forward) = forward {
            let _ = write!(text, "{} {} ", forward.protocol, forward.port);
        }
        let _ = match address {
            Some(address) => write!(text, "at {address}"),
            None => write!(text, "through Windows' own network"),
        };
        if let Some(forward) = forward.filter(|forward| !forward.labels.is_empty()) {
            let labels = clean(forward.labels.join(" "), limits::TEXT_CHARS);
            let _ = write!(text, " ({labels})");
        }
    }
    if places.len() > NAMED {
        let _ = write!(text, " and {} more", places.len() - NAMED);
    }
}

#[cfg(test)]
mod tests {
    use wslnet_protocol::{Bind, Protocol, Reach};

    use super::*;

    #[test]
    fn who_opened_what_is_told_and_what_went() {
        let forward = forward(1, 8000, &["process=node", "unit=shop\u{202e}.service"]);
        let (first, second) = (
            active(1, &["192.168.1.20:8000"]),
            active(2, &["192.168.1.20:9000"]),
        );

        let text = change(
            std::slice::from_ref(&second),
            std::slice::from_ref(&first),
            [&forward].into_iter(),
        );
        assert_eq!(
            text.as_deref(),
            Some(
                "opened tcp 8000 at 192.168.1.20:8000 (process=node unit=shop\u{fffd}.service); closed at 192.168.1.20:9000"
            )
        );
        let nothing = std::iter::empty();
        assert_eq!(
            change(
                std::slice::from_ref(&first),
                std::slice::from_ref(&first),
                nothing
            ),
            None
        );
    }

    #[test]
    fn another_reason_is_no_change_and_another_address_is_one() {
        let here = active(1, &["192.168.1.20:8000"]);
        let mut reasoned = here.clone();
        reasoned.reason = "name shop.wsl".to_owned();
        let there = active(1, &["192.168.1.20:8000", "10.0.0.7:8000"]);
        let of = |before: &ForwardStatus, after: &ForwardStatus| {
            change(
                std::slice::from_ref(before),
                std::slice::from_ref(after),
                std::iter::empty(),
            )
        };

        assert_eq!(of(&here, &reasoned), None);
        assert_eq!(of(&here, &there).as_deref(), Some("opened at 10.0.0.7:8000"));
        assert_eq!(of(&there, &here).as_deref(), Some("closed at 10.0.0.7:8000"));
    }

    #[test]
    fn many_are_named_in_part_and_counted() {
        let all: Vec<ForwardStatus> = (1..=100).map(|id| active(id, &["192.168.1.20:8000"])).collect();

        let text = change(&[], &all, std::iter::empty()).unwrap_or_default();

        assert!(text.ends_with(" and 80 more"), "{text}");
    }

    #[test]
    fn what_is_not_active_is_not_open() {
        let mut refused = active(1, &[]);
        refused.state = ForwardState::Denied;

        assert_eq!(
            change(
                &[],
                &[refused, active(2, &[])],
                [&forward(2, 53, &[])].into_iter()
            )
            .as_deref(),
            Some("opened tcp 53 through Windows' own network")
        );
    }

    fn active(id: u64, listen: &[&str]) -> ForwardStatus {
        ForwardStatus {
            id: ForwardId(id),
            state: ForwardState::Active,
            reason: String::new(),
            listen: listen.iter().filter_map(|address| address.parse().ok()).collect(),
        }
    }

    fn forward(id: u64, port: u16, labels: &[&str]) -> Forward {
        Forward {
            id: ForwardId(id),
            protocol: Protocol::Tcp,
            port,
            bind: Bind::Wildcard,
            listen_port: port,
            auto: false,
            loopback_gap: false,
            reach: Reach::Lan,
            name: None,
            labels: labels.iter().map(ToString::to_string).collect(),
        }
    }
}
