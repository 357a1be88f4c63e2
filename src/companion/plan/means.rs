//! What policy, the machine and the forward itself say of a forward, whoever else is there: may it be, and by which means?

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use wslnet_protocol::{Bind, Forward, ForwardState, Protocol, Reach};

use super::{Surroundings, Verdict};
use crate::config::{Policy, Refusal};
use crate::host::interface_of;
use crate::ledger::{Claims, DistroClaims, Key};
use crate::target;

/// The daemon's configuration file, as reasons name it.
const DAEMON_CONFIG: &str = "/etc/wslnetd/config.toml";

/// For each distro the address that may be dialled for it, or why there is none.
pub(super) type Targets<'a> = BTreeMap<&'a str, Result<IpAddr, Verdict>>;

/// How a forward that nothing speaks against is applied.
pub(super) enum Means {
    /// Dial this for whoever connects.
    Relay(SocketAddr),
    /// Windows gets there by itself, in this way.
    Nothing(String),
}

/// Why no forward may have a port of Windows.
pub(super) struct Refused {
    /// The reason, as a sentence of its own.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// The addresses that may be dialled.
pub(super) fn targets<'a>(claims: &Claims<'a>, surroundings: &Surroundings<'_>) -> Targets<'a> {
    let target =
        |(distro, claims): (&&'a str, &DistroClaims<'_>)| (*distro, target_of(claims.peer, surroundings));
    claims.distros.iter().map(target).collect()
}

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

/// Why no forward may have this port, whoever asks.
pub(super) fn refused(key: Key, surroundings: &Surroundings<'_>) -> Option<Refused> {
    let Key { protocol, port } = key;
    let (what, advice) = if protocol == Protocol::Tcp && port == surroundings.control.port() {
        let what = format!("port {port} is the companion's own control port");
        (what, another_port())
    } else {
        match surroundings.policy.refusal(protocol, port)? {
            Refusal::Reserved(what) => (format!("Windows keeps port {port} for {what}"), another_port()),
            Refusal::NotAllowed => (
                format!("`ports` in companion.toml does not allow port {port}"),
                format!("add it there, or {}", another_port()),
            ),
        }
    };
    Some(Refused { what, advice })
}

/// How the forward can be applied at this port, or why it cannot, were nobody else there.
pub(super) fn means(
    key: Key,
    forward: &Forward,
    target: &Result<IpAddr, Verdict>,
    surroundings: &Surroundings<'_>,
) -> Result<Means, Verdict> {
    if let Some(Refused { what, advice }) = refused(key, surroundings) {
        return Err(Verdict::denied(format!("{what}: {advice}")));
    }
    match forward.reach.min(surroundings.policy.reach) {
        Reach::Host => without_relay(forward, target, surroundings.policy),
        Reach::Lan if !surroundings.backend.carries(key.protocol) => Err(Verdict::denied(format!(
            "`backend = \"{}\"` in companion.toml carries no {}: set `backend = \"relay\"` there",
            surroundings.backend,
            key.protocol.to_string().to_uppercase()
        ))),
        Reach::Lan => target
            .clone()
            .map(|ip| Means::Relay(SocketAddr::new(ip, forward.port))),
    }
}

/// Windows itself reaches a VM without help: at the VM's own address, and WSL shares wildcard listeners on Windows' loopback,
/// at their own port. It does so for TCP only.
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
    if port != listen_port && !forward.auto {
        return Err(Verdict::denied(format!(
            "{narrowed}Windows itself reaches it at port {port}, and port {listen_port} takes a relay on the local \
             network: allow reach `lan`, or let the service listen on port {listen_port}"
        )));
    }
    let way = match (forward.protocol, forward.bind) {
        (Protocol::Tcp, Bind::Wildcard) => {
            format!("Windows itself reaches it at localhost:{port} through WSL's own localhost forwarding")
        }
        (Protocol::Tcp, Bind::Address) => {
            let ip = target.clone()?;
            format!("Windows itself reaches it at {}", SocketAddr::new(ip, port))
        }
        (Protocol::Udp, Bind::Wildcard | Bind::Address) => {
            let ip = target.clone()?;
            format!(
                "Windows itself reaches it at {}, but not at localhost: WSL forwards no UDP there",
                SocketAddr::new(ip, port)
            )
        }
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

    pub(super) fn without_relay(reason: String) -> Self {
        Self {
            state: ForwardState::Active,
            reason,
        }
    }

    pub(super) fn conflict(key: Key, distro: &str, owner: &str) -> Self {
        let reason = if distro == owner {
            format!(
                "another forward of the distro has {key} of Windows instead of the port that it wanted: {}",
                another_port()
            )
        } else {
            format!(
                "distro `{owner}` has {key} of Windows: stop its listener there, or {}",
                another_port()
            )
        };
        Self {
            state: ForwardState::Conflict,
            reason,
        }
    }

    pub(super) fn over_limit(limit: usize) -> Self {
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
