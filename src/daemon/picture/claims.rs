//! Which port of Windows each port of this distro asks for. Two cannot have the same one: a rule that names a port comes
//! first, then whoever listens on that very port, then those that also take another one. Among equals, whoever has listened
//! for longer keeps it: nobody takes an open port away by starting something.

use std::collections::BTreeMap;
use std::time::Instant;

use wslnet_protocol::Protocol;

use crate::listeners::TransportPort;
use crate::policy::{Outcome, Port, Wanted};

/// How many ports above its own one that takes any other is tried with.
const TRIES: u16 = 100;

/// Settles the wishes of all ports: `auto` ones may get another number, and those that are left without one are withheld.
/// `since` says when a listener was first seen, by its id.
pub(super) fn settle(ports: &mut [Port], since: &BTreeMap<u64, Instant>) {
    let mut taken: BTreeMap<(Protocol, u16), TransportPort> = BTreeMap::new();
    let mut by_age = ports.iter_mut().collect::<Vec<_>>();
    let age = |port: &Port| {
        port.receivers
            .iter()
            .filter_map(|id| since.get(id))
            .min()
            .copied()
    };
    by_age.sort_by_cached_key(|port| (age(port), port.port));
    for rank in [Rank::Named, Rank::Same, Rank::Auto] {
        for Port { port, outcome, .. } in by_age.iter_mut().map(|port| &mut **port) {
            let port = *port;
            let Outcome::Wanted(wanted) = outcome else {
                continue;
            };
            if Rank::of(port, wanted) != rank {
                continue;
            }
            let asked = wanted.listen_port;
            let last = match rank {
                Rank::Named | Rank::Same => asked,
                Rank::Auto => asked.saturating_add(TRIES),
            };
            let free = (asked..=last).find(|number| !taken.contains_key(&(port.protocol, *number)));
            match (free, taken.get(&(port.protocol, asked))) {
                (Some(number), _) => {
                    wanted.listen_port = number;
                    taken.insert((port.protocol, number), port);
                }
                (None, other) => {
                    let windows = TransportPort {
                        number: asked,
                        ..port
                    };
                    let other = other.map(ToString::to_string).unwrap_or_default();
                    let fix = match rank {
                        Rank::Named | Rank::Same => {
                            "narrow one of the rules, or give it `listen-port = \"auto\"`"
                        }
                        Rank::Auto => "and so are the ports after it: narrow one of the rules",
                    };
                    *outcome = Outcome::Withheld {
                        reason: format!(
                            "{windows} of Windows is asked for by {other} of this distro already: {fix}"
                        ),
                    };
                }
            }
        }
    }
}

/// Who comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// A rule names the port on Windows.
    Named,
    /// The port is the listener's own.
    Same,
    /// Any port will do.
    Auto,
}

impl Rank {
    fn of(port: TransportPort, wanted: &Wanted) -> Self {
        match wanted {
            Wanted { auto: true, .. } => Self::Auto,
            Wanted { listen_port, .. } if *listen_port == port.number => Self::Same,
            Wanted { .. } => Self::Named,
        }
    }
}
