//! What the distros want: a view of the ledger at one moment, for the plan to judge.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use wslnet_protocol::{Forward, ForwardId, Mode, Protocol};

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

    /// Another port of the same protocol.
    pub fn at(self, port: u16) -> Self {
        Self { port, ..self }
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
    /// When it was made, as the ledger counts: the lowest number came first.
    pub arrival: u64,
}

impl<'a> Claim<'a> {
    /// Orders all claims, on whichever port: the lower one came first. Those that came together go by their distros and
    /// ports.
    pub fn rank(&self) -> (u64, &'a str, Key) {
        (self.arrival, self.distro, Key::of(self.forward))
    }
}

/// All that one distro wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DistroClaims<'a> {
    /// The address from which its newest session comes: the only one that may be dialled for it.
    pub peer: IpAddr,
    /// The networking mode that this session says the VM is in. Where that one shares ports nothing is dialled for it.
    pub mode: Mode,
    /// Whether that session has sent a set. Before it has, what is here is what a former session of the same VM wanted, or
    /// nothing, and does not mean that the distro gave anything up.
    pub heard: bool,
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
        let mut claims = Self::default();
        for (distro, wanted, arrived) in distros {
            for forward in wanted.granted {
                let key = Key::of(forward);
                // A granted forward has always arrived; were it not so, it would come last rather than first.
                let arrival = arrived.get(&key).copied().unwrap_or(u64::MAX);
                let claim = Claim {
                    distro,
                    forward,
                    arrival,
                };
                claims.ports.entry(key).or_default().push(claim);
            }
            claims.distros.insert(distro, wanted);
        }
        for claimants in claims.ports.values_mut() {
            claimants.sort_by_key(Claim::rank);
        }
        claims
    }
}
