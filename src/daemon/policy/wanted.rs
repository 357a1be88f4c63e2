//! From verdicts about sockets to what is asked of Windows: at most one forward for each port.
//!
//! Several sockets can share a port: SO_REUSEPORT groups, `0.0.0.0` beside a `[::]` with IPV6_V6ONLY, the VM's address
//! beside 127.0.0.1. A dial from Windows reaches the port and the kernel picks the socket, so a port is shared only if
//! every socket that the kernel could pick is. Services on loopback are met by no dial; where nothing else is on their port,
//! a bridge of this daemon can be.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wslnet_protocol::{Bind, Protocol, Reach};

use super::{Exposure, Surroundings, Verdict, Way};
use crate::config::ListenPort;
use crate::listeners::{Socket, TransportPort};

/// A socket and its verdict.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// The socket.
    pub socket: &'a Socket,
    /// What the policy says of it; [`Verdict::not_ours`] for one of another distro.
    pub verdict: &'a Verdict,
}

/// What becomes of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The port inside the VM.
    pub port: TransportPort,
    /// The ids of the sockets that a dial from Windows could meet, in order, or that it meets by a bridge; empty when there is
    /// none.
    pub receivers: Vec<u64>,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is asked for.
    Wanted(Wanted),
    /// It is not, for the reasons of its sockets, or because one of them would be met that must stay private.
    Withheld {
        /// Why, for people.
        reason: String,
    },
    /// Not yet, as it is not known whether one of its sockets must stay private.
    Waits {
        /// What is missing, for people.
        reason: String,
    },
}

/// A forward to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The smallest id of the receivers.
    pub id: u64,
    /// The port that Windows dials: the listener's, until it is known to be that of its bridge.
    pub port: u16,
    /// To what that one is bound, or its bridge.
    pub bind: Bind,
    /// The service on loopback to which a bridge leads; none where Windows dials the socket itself.
    pub bridge_to: Option<SocketAddr>,
    /// The wanted port on Windows.
    pub listen_port: u16,
    /// Whether another port will do.
    pub auto: bool,
    /// Whether WSL leaves Windows' 127.0.0.1 free at the wanted port.
    pub loopback_gap: bool,
    /// How far it goes: the least of what the receivers may.
    pub reach: Reach,
    /// A name under which people find it.
    pub name: Option<String>,
}

/// How Windows has the ports of the VM.
#[derive(Debug, Clone, Copy)]
enum Windows<'a> {
    /// It dials them.
    Dials {
        /// The ports at which WSL itself listens on Windows' 127.0.0.1.
        forwarded_by_wsl: &'a BTreeSet<u16>,
    },
    /// They are its own.
    SharesPorts,
}

/// Joins the sockets of each port, in the order of protocol and port. The order of `decided` does not matter; it must
/// hold every listening socket, also those of other distros, because they can share a port with ours.
#[must_use]
pub fn wanted(decided: &[Decided<'_>], surroundings: &Surroundings) -> Vec<Port> {
    let mut by_port = decided.to_vec();
    by_port.sort_by_key(|one| (one.socket.port(), one.socket.id()));
    let arrivals = surroundings.arrivals();
    let forwarded_by_wsl = forwarded_by_wsl(decided);
    let windows = if surroundings.shares_ports() {
        Windows::SharesPorts
    } else {
        Windows::Dials {
            forwarded_by_wsl: &forwarded_by_wsl,
        }
    };
    by_port
        .chunk_by(|one, other| one.socket.port() == other.socket.port())
        .filter_map(|sockets| {
            let port = sockets.first()?.socket.port();
            let mut receivers = receivers(sockets, &arrivals, surroundings);
            let is_bridged = |one: &&Decided<'_>| {
                one.verdict
                    .exposure()
                    .is_some_and(|exposure| exposure.way == Way::Bridge)
            };
            if receivers.is_empty() {
                // One bridge leads to one service. IPv4 comes first, as it does for most clients.
                let bridged = sockets.iter().filter(is_bridged);
                let first =
                    bridged.min_by_key(|one| (one.socket.address.ip().to_canonical(), one.socket.id()));
                // And the kernel picks among all that share its address, as for a dial.
                let meets = |one: &&Decided<'_>| {
                    first.is_some_and(|first| first.socket.canonical_ip() == one.socket.canonical_ip())
                };
                receivers = sockets.iter().filter(meets).copied().collect();
            }
            Some(Port {
                port,
                outcome: outcome(sockets, &receivers, windows),
                receivers: receivers.iter().map(|one| one.socket.id()).collect(),
            })
        })
        .collect()
}

/// The ports at which WSL itself listens on Windows' 127.0.0.1: its localhost forwarding takes every TCP listener on these two
/// addresses, whoever's it is and at the same port. A dual-stack `::` it takes for IPv6 only, and so for Windows' `::1`; UDP it
/// does not take at all (microsoft/WSL, `src/windows/wslrelay/localhost.cpp`; issue 4851).
fn forwarded_by_wsl(decided: &[Decided<'_>]) -> BTreeSet<u16> {
    let taken = decided.iter().map(|one| one.socket).filter(|socket| {
        // Not in canonical form: what is IPv4 in IPv6 clothes, WSL does not take.
        let ip = socket.address.ip();
        socket.protocol == Protocol::Tcp && (ip == Ipv4Addr::UNSPECIFIED || ip == Ipv4Addr::LOCALHOST)
    });
    taken.map(|socket| socket.address.port()).collect()
}

fn outcome(sockets: &[Decided<'_>], receivers: &[Decided<'_>], windows: Windows<'_>) -> Outcome {
    let withheld = |among: &[Decided<'_>]| {
        among
            .iter()
            .find_map(|one| Some((one.socket.address, one.verdict.refusal()?.to_owned())))
    };
    if let Some(reason) = receivers.iter().find_map(|one| one.verdict.waits_for()) {
        return Outcome::Waits {
            reason: reason.to_owned(),
        };
    }
    if let Some((address, reason)) = withheld(receivers) {
        let shared = receivers.iter().any(|one| one.verdict.is_expose());
        return Outcome::Withheld {
            reason: if shared {
                format!("shares its port with {address}, which is withheld: {reason}")
            } else {
                reason
            },
        };
    }

    let mut wanted: Option<Wanted> = None;
    for one in receivers {
        let Some(exposure) = one.verdict.exposure() else {
            continue;
        };
        match &mut wanted {
            // The first has the smallest id; the others can only narrow it.
            Some(wanted) => wanted.reach = wanted.reach.min(exposure.reach),
            None => wanted = Some(Wanted::new(one.socket, exposure, windows)),
        }
    }
    wanted.map_or_else(
        || Outcome::Withheld {
            reason: withheld(sockets).map_or_else(
                || "a dial from Windows meets none of its sockets".to_owned(),
                |(_, reason)| reason,
            ),
        },
        Outcome::Wanted,
    )
}

impl Wanted {
    fn new(socket: &Socket, exposure: &Exposure, windows: Windows<'_>) -> Self {
        let own = socket.address.port();
        let (bind, bridge_to) = match exposure.way {
            Way::Dial(bind) => (bind, None),
            Way::Bridge => (Bind::Address, Some(SocketAddr::new(socket.canonical_ip(), own))),
        };
        let (listen_port, auto) = match exposure.listen_port {
            ListenPort::Same => (own, false),
            ListenPort::Fixed(port) => (port, false),
            // A port that Windows shares is its own, and no other is to be had.
            ListenPort::Auto => (own, matches!(windows, Windows::Dials { .. })),
        };
        let loopback_gap = match windows {
            Windows::Dials { forwarded_by_wsl } => {
                socket.protocol == Protocol::Udp || !forwarded_by_wsl.contains(&listen_port)
            }
            Windows::SharesPorts => false,
        };
        Self {
            id: socket.id(),
            port: own,
            bind,
            bridge_to,
            listen_port,
            auto,
            loopback_gap,
            reach: exposure.reach,
            name: exposure.name.clone(),
        }
    }
}

/// The sockets that a dial to the VM could meet. While there is no session, several of the VM's addresses may turn out to
/// be the one that is dialled; then what any of them could meet counts. Where Windows shares the VM's ports, so does what comes in at
/// any of its addresses, in both families.
fn receivers<'a>(
    sockets: &[Decided<'a>],
    arrivals: &[(bool, Vec<IpAddr>)],
    surroundings: &Surroundings,
) -> Vec<Decided<'a>> {
    let mut met: BTreeSet<u64> = BTreeSet::new();
    for (is_v6, addresses) in arrivals {
        let reachable = |one: &&Decided<'a>| {
            let family = if *is_v6 {
                one.socket.takes_v6()
            } else {
                one.socket.takes_v4()
            };
            family && !one.socket.is_loopback() && surroundings.foreign_device(one.socket).is_none()
        };
        let reachable: Vec<Decided<'a>> = sockets.iter().filter(reachable).copied().collect();
        met.extend(met_at(addresses, &reachable));
    }
    sockets
        .iter()
        .filter(|one| met.contains(&one.socket.id()))
        .copied()
        .collect()
}

/// The ids of those that what comes in at these addresses could meet.
fn met_at(addresses: &[IpAddr], reachable: &[Decided<'_>]) -> BTreeSet<u64> {
    let wildcards: Vec<Decided<'_>> = reachable
        .iter()
        .filter(|one| one.socket.is_wildcard())
        .copied()
        .collect();
    let mut met: BTreeSet<u64> = BTreeSet::new();
    if addresses.is_empty() {
        met.extend(picked(&wildcards));
    }
    for address in addresses {
        let exact: Vec<Decided<'_>> = reachable
            .iter()
            .filter(|one| one.socket.canonical_ip() == *address)
            .copied()
            .collect();
        // The kernel looks for the exact address first, and for a wildcard only if there is none
        // (__inet_lookup_listener in net/ipv4/inet_hashtables.c).
        met.extend(picked(if exact.is_empty() { &wildcards } else { &exact }));
    }
    met
}

/// Of equally specific sockets, the ids of those that the kernel could pick: an IPv4 socket outranks a dual-stack one,
/// unless that is bound to a device, which counts as much (compute_score in the same file).
fn picked(tier: &[Decided<'_>]) -> Vec<u64> {
    let has_v4 = tier.iter().any(|one| one.socket.address.is_ipv4());
    let could_win =
        |one: &&Decided<'_>| !has_v4 || one.socket.address.is_ipv4() || one.socket.interface.is_some();
    tier.iter().filter(could_win).map(|one| one.socket.id()).collect()
}
