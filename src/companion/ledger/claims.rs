//! What the distros want: a view of the ledger at one moment, for the plan to judge.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use wslnet_protocol::{Forward, ForwardId, Protocol};

/// A port of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The protocol.
    pub protocol: Protocol,
    /// The number, not 0.
    pub port: u16,
}

impl Key {
    /// The port that a forward wants.
    pub fn of(forward: &Forward) -> Self {
        Self {
            protocol: forward.protocol,
            port: forward.listen_port,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {}", self.protocol, self.port)
    }
}

/// One distro's wish for one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The distro.
    pub distro: &'a str,
    /// The forward with which it claims the port.
    pub forward: &'a Forward,
}

/// All that one distro wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DistroClaims<'a> {
    /// The address from which its newest session comes: the only one that may be dialled for it.
    pub peer: IpAddr,
    /// The forwards within the limit, in the order of the set. Each claims its port.
    pub granted: &'a [Forward],
    /// The rest of the set. These claim nothing.
    pub over_limit: &'a [Forward],
    /// Listeners whose live connections must be cut.
    pub revoked: &'a [ForwardId],
}

/// The claims of all distros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims<'a> {
    /// For each port those who claim it, in order of arrival. The first one owns the port; the next takes over
    /// when it goes.
    pub ports: BTreeMap<Key, Vec<Claim<'a>>>,
    /// For each distro with a session or a living set what it wants.
    pub distros: BTreeMap<&'a str, DistroClaims<'a>>,
}

impl<'a> Claims<'a> {
    /// Ranks what each distro wants by the numbers under which its claims arrived.
    pub(super) fn of(
        distros: impl Iterator<Item = (&'a str, DistroClaims<'a>, &'a BTreeMap<Key, u64>)>,
    ) -> Self {
        let mut ranked: BTreeMap<Key, Vec<(u64, Claim<'a>)>> = BTreeMap::new();
        let mut claims = Self::default();
        for (distro, wanted, arrived) in distros {
            for forward in wanted.granted {
                let key = Key::of(forward);
                // A granted forward has always arrived; were it not so, it would come last rather than first.
                let arrival = arrived.get(&key).copied().unwrap_or(u64::MAX);
                ranked
                    .entry(key)
                    .or_default()
                    .push((arrival, Claim { distro, forward }));
            }
            claims.distros.insert(distro, wanted);
        }
        claims.ports = ranked
            .into_iter()
            .map(|(key, mut claims)| {
                claims.sort_by_key(|(arrival, _)| *arrival);
                (key, claims.into_iter().map(|(_, claim)| claim).collect())
            })
            .collect();
        claims
    }
}
