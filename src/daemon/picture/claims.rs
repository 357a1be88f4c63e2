//! Which port of Windows each port of this distro asks for. Two cannot have the same one: a rule that names a port comes
//! first, then whoever listens on that very port, then those that also take another one.

use std::collections::BTreeMap;

use wslnet_protocol::Protocol;

use crate::listeners::TransportPort;
use crate::policy::{Outcome, Port, Wanted};

/// How many ports above its own one that takes any other is tried with.
const TRIES: u16 = 100;

/// Settles the wishes of all ports: `auto` ones may get another number, and those that are left without one are withheld.
pub(super) fn settle(ports: &mut [Port]) {
    let mut taken: BTreeMap<(Protocol, u16), TransportPort> = BTreeMap::new();
    for rank in [Rank::Named, Rank::Same, Rank::Auto] {
        for Port { port, outcome, .. } in ports.iter_mut() {
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
                    *outcome = Outcome::Withheld {
                        reason: format!(
                            "{windows} of Windows is asked for by {other} of this distro already: narrow one of the rules, or \
                             give it `listen-port = \"auto\"`"
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
