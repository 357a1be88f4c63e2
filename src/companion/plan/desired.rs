//! From claims to what should be: policy, targets, addresses, and who owns which port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use wslnet_protocol::{Bind, Forward, ForwardId, ForwardState, Protocol, Reach};

use super::{Desired, Outcome, Relay, Surroundings, Verdict};
use crate::config::{Policy, Refusal};
use crate::host::{Interface, interface_of, is_wsl_adapter};
use crate::ledger::{Claims, Key};
use crate::target;

/// The daemon's configuration file, as reasons name it.
const DAEMON_CONFIG: &str = "/etc/wslnetd/config.toml";

/// How a forward that nothing speaks against is applied.
enum Means {
    /// Dial this for whoever connects.
    Relay(SocketAddr),
    /// Windows gets there by itself, in this way.
    Nothing(String),
}

/// Decides what should be. Depends on nothing but its arguments.
pub fn desired(claims: &Claims<'_>, surroundings: &Surroundings<'_>) -> Desired {
    let addresses = lan_addresses(surroundings.interfaces, surroundings.control, surroundings.policy);
    let targets: BTreeMap<&str, Result<IpAddr, Verdict>> = claims
        .distros
        .iter()
        .map(|(distro, claims)| (*distro, target_of(claims.peer, surroundings)))
        .collect();
    let mut relays = BTreeMap::new();
    let mut outcomes: BTreeMap<(&str, ForwardId), Outcome> = BTreeMap::new();
    for (key, claimants) in &claims.ports {
        let mut owner = None;
        for claim in claimants {
            let Some(target) = targets.get(claim.distro) else {
                continue;
            };
            let outcome = match (means(*key, claim.forward, target, surroundings), owner) {
                (Err(verdict), _) => Outcome::Settled(verdict),
                (Ok(_), Some(owner)) => Outcome::Settled(Verdict::conflict(*key, owner)),
                (Ok(Means::Nothing(reason)), None) => {
                    owner = Some(claim.distro);
                    Outcome::Settled(Verdict {
                        state: ForwardState::Active,
                        reason,
                    })
                }
                (Ok(Means::Relay(target)), None) => {
                    owner = Some(claim.distro);
                    let listen = addresses
                        .iter()
                        .map(|ip| SocketAddr::new(*ip, key.port))
                        .collect();
                    let distro = claim.distro.to_owned();
                    relays.insert(
                        *key,
                        Relay {
                            distro,
                            id: claim.forward.id,
                            target,
                            listen,
                        },
                    );
                    Outcome::Relayed(*key)
                }
            };
            outcomes.insert((claim.distro, claim.forward.id), outcome);
        }
    }
    let in_order = claims.distros.iter().map(|(distro, claims)| {
        let granted = claims
            .granted
            .iter()
            .filter_map(|f| Some((f.id, outcomes.remove(&(*distro, f.id))?)));
        let limit = claims.granted.len();
        let over = claims
            .over_limit
            .iter()
            .map(|f| (f.id, Outcome::Settled(Verdict::over_limit(limit))));
        ((*distro).to_owned(), granted.chain(over).collect())
    });
    let outcomes = in_order.collect();
    Desired { relays, outcomes }
}

/// The addresses on which forwards of reach `lan` listen, in order: those of the networks that Windows is in, but not
/// the one that it shares with the VM, not what `exclude-interfaces` names, and never a wildcard or loopback. None at
/// all while the control address is gone, because then the VM's network cannot be told from the others.
pub fn lan_addresses(interfaces: &[Interface], control: SocketAddr, policy: &Policy) -> Vec<IpAddr> {
    let control = control.ip().to_canonical();
    if interface_of(interfaces, control).is_none() {
        return Vec::new();
    }
    let is_fit = |interface: &&Interface| {
        let reaches_vm =
            interface.addresses.iter().any(|a| a.address == control) || is_wsl_adapter(interface);
        interface.up && !interface.loopback && !reaches_vm && !policy.excludes(&interface.name)
    };
    let addresses: BTreeSet<IpAddr> = interfaces
        .iter()
        .filter(is_fit)
        .flat_map(|interface| &interface.addresses)
        .filter(|a| {
            a.preferred && a.address == a.address.to_canonical() && target::is_plain_unicast(a.address)
        })
        .map(|a| a.address)
        .collect();
    addresses.into_iter().collect()
}

/// The address that may be dialled for a distro.
fn target_of(peer: IpAddr, surroundings: &Surroundings<'_>) -> Result<IpAddr, Verdict> {
    let Surroundings {
        interfaces, control, ..
    } = surroundings;
    if interface_of(interfaces, control.ip()).is_none() {
        let reason = format!(
            "{}, the companion's own address, is not on this machine now: it comes back with the VM; if it does not, \
             restart wslnet-companion",
            control.ip()
        );
        return Err(Verdict {
            state: ForwardState::Pending,
            reason,
        });
    }
    match target::permitted(peer, interfaces, *control) {
        Ok(()) => Ok(peer.to_canonical()),
        Err(why) => Err(Verdict::denied(format!(
            "{why}; the companion dials only neighbours in the VM's own network: check `listen` in companion.toml"
        ))),
    }
}

/// How the forward can be applied, or why it cannot, were nobody else there.
fn means(
    key: Key,
    forward: &Forward,
    target: &Result<IpAddr, Verdict>,
    surroundings: &Surroundings<'_>,
) -> Result<Means, Verdict> {
    let policy = surroundings.policy;
    if key.protocol == Protocol::Tcp && key.port == surroundings.control.port() {
        return Err(Verdict::denied(format!(
            "port {} is the companion's own control port: {}",
            key.port,
            another_port()
        )));
    }
    match policy.refusal(key.port) {
        Some(Refusal::Reserved(what)) => {
            return Err(Verdict::denied(format!(
                "Windows keeps port {} for {what}: {}",
                key.port,
                another_port()
            )));
        }
        Some(Refusal::NotAllowed) => {
            return Err(Verdict::denied(format!(
                "`ports` in companion.toml does not allow port {}: add it there, or {}",
                key.port,
                another_port()
            )));
        }
        None => {}
    }
    match forward.reach.min(policy.reach) {
        Reach::Host => without_relay(forward, target, policy),
        Reach::Lan => target
            .clone()
            .map(|ip| Means::Relay(SocketAddr::new(ip, forward.port))),
    }
}

/// Windows itself reaches a VM without help: WSL shares wildcard listeners on Windows' loopback, at their own port.
fn without_relay(
    forward: &Forward,
    target: &Result<IpAddr, Verdict>,
    policy: &Policy,
) -> Result<Means, Verdict> {
    let (port, listen_port) = (forward.port, forward.listen_port);
    let narrowed = if policy.reach < forward.reach {
        format!(
            "`reach = \"{}\"` in companion.toml keeps it off the local network; ",
            policy.reach
        )
    } else {
        String::new()
    };
    if port != listen_port {
        return Err(Verdict::denied(format!(
            "{narrowed}Windows itself reaches it at port {port}, and port {listen_port} takes a relay on the local \
             network: allow reach `lan`, or let the service listen on port {listen_port}"
        )));
    }
    let way = match (forward.bind, target) {
        (Bind::Wildcard, _) => {
            format!("Windows itself reaches it at localhost:{port} through WSL's own localhost forwarding")
        }
        (Bind::Address, Ok(ip)) => format!("Windows itself reaches it at {}", SocketAddr::new(*ip, port)),
        (Bind::Address, Err(verdict)) => return Err(verdict.clone()),
    };
    Ok(Means::Nothing(format!("{narrowed}{way}")))
}

fn another_port() -> String {
    "let the service in the distro listen on another port".to_owned()
}

impl Verdict {
    fn denied(reason: String) -> Self {
        Self {
            state: ForwardState::Denied,
            reason,
        }
    }

    fn conflict(key: Key, owner: &str) -> Self {
        let reason = format!(
            "distro `{owner}` has {key} of Windows: stop its listener there, or {}",
            another_port()
        );
        Self {
            state: ForwardState::Conflict,
            reason,
        }
    }

    fn over_limit(limit: usize) -> Self {
        let reason = format!(
            "the distro has more than the {limit} forwards it may have: raise `max-forwards` in companion.toml, or add \
             listeners to `opt-out` in {DAEMON_CONFIG}"
        );
        Self {
            state: ForwardState::OverLimit,
            reason,
        }
    }
}
