//! What policy, the machine and the forward itself say of a forward, whoever else is there: may it be, and by which means?

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wslnet_protocol::{Bind, Forward, ForwardState, Mode, Protocol, Reach};

use super::{Surroundings, Verdict, shared};
use crate::config::{Backend, Refusal};
use crate::host::interface_of;
use crate::ledger::{Claims, DistroClaims, Key};
use crate::target;

/// The daemon's configuration file, as reasons name it.
const DAEMON_CONFIG: &str = "/etc/wslnetd/config.toml";

/// For each distro how Windows gets to it.
pub(super) type Targets<'a> = BTreeMap<&'a str, Target>;

/// How Windows gets to the listeners of a distro.
pub(super) enum Target {
    /// By dialling this address, or why there is none that may be dialled.
    Dialled(Result<IpAddr, Verdict>),
    /// Not at all: Windows has their ports itself, in this networking mode.
    Shared(Mode),
}

/// How a forward that nothing speaks against is applied.
pub(super) enum Means {
    /// A relay.
    Relay(Way),
    /// An opening in the firewall, in this networking mode.
    Open(Mode),
    /// Windows gets there by itself, in this way.
    Nothing(String),
}

/// What a relay dials, and where it listens.
pub(super) struct Way {
    /// What to dial for whoever connects.
    pub target: SocketAddr,
    /// How far it goes.
    pub reach: Reach,
    /// Whether it listens at Windows' own 127.0.0.1 too.
    pub fills_gap: bool,
    /// What its state has to say besides; may be empty.
    pub note: String,
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
    let target = |(distro, claims): (&&'a str, &DistroClaims<'_>)| {
        let target = if claims.mode.shares_ports() {
            Target::Shared(claims.mode)
        } else {
            Target::Dialled(target_of(claims.peer, surroundings))
        };
        (*distro, target)
    };
    claims.distros.iter().map(target).collect()
}

fn target_of(peer: IpAddr, surroundings: &Surroundings<'_>) -> Result<IpAddr, Verdict> {
    let Surroundings {
        interfaces, control, ..
    } = surroundings;
    // A session in NAT mode that came in while there was one has brought claims that outlive it.
    let Some(control) = control.network else {
        return Err(Verdict {
            state: ForwardState::Pending,
            reason: "the companion listens in no network of the VM now: it does as soon as the WSL adapter is there".to_owned(),
        });
    };
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
    match target::permitted(peer, interfaces, control) {
        Ok(()) => Ok(peer.to_canonical()),
        Err(why) => Err(Verdict::denied(format!(
            "{why}; the companion dials only neighbours in the VM's own network: check `listen` in companion.toml"
        ))),
    }
}

/// Why no forward may have this port, whoever asks.
pub(super) fn refused(key: Key, surroundings: &Surroundings<'_>) -> Option<Refused> {
    let Key { protocol, port } = key;
    let (what, advice) = if protocol == Protocol::Tcp && surroundings.control.have(port) {
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
    target: &Target,
    surroundings: &Surroundings<'_>,
) -> Result<Means, Verdict> {
    if let Some(Refused { what, advice }) = refused(key, surroundings) {
        return Err(Verdict::denied(format!("{what}: {advice}")));
    }
    let target = match target {
        Target::Shared(mode) => return shared::means(key, forward, *mode, surroundings),
        Target::Dialled(target) => target,
    };
    match forward.reach.min(surroundings.policy.reach) {
        Reach::Host => on_windows_alone(key, forward, target, surroundings),
        Reach::Lan if !surroundings.backend.carries(key.protocol) => Err(Verdict::denied(format!(
            "`backend = \"{}\"` in companion.toml carries no {}: set `backend = \"relay\"` there",
            surroundings.backend,
            key.protocol.to_string().to_uppercase()
        ))),
        Reach::Lan => {
            let ip = target.clone()?;
            Ok(Means::Relay(Way {
                target: SocketAddr::new(ip, forward.port),
                reach: Reach::Lan,
                fills_gap: fills_gap(key, forward, surroundings),
                note: String::new(),
            }))
        }
    }
}

/// Whether a relay for the forward listens at this port of Windows' own 127.0.0.1 too. What the distro says holds for the port that
/// it wants: what WSL does at another one, it does not say.
fn fills_gap(key: Key, forward: &Forward, surroundings: &Surroundings<'_>) -> bool {
    forward.loopback_gap
        && key.port == forward.listen_port
        && surroundings.backend == Backend::Relay
        && has_loopback(surroundings)
}

/// Whether Windows' own 127.0.0.1 is there, and not excluded as other interfaces can be.
fn has_loopback(surroundings: &Surroundings<'_>) -> bool {
    let interface = interface_of(surroundings.interfaces, Ipv4Addr::LOCALHOST.into());
    interface.is_some_and(|interface| {
        interface.up && interface.loopback && !surroundings.policy.excludes(&interface.name)
    })
}

/// A forward for Windows itself, at 127.0.0.1 if WSL leaves that free. One for which another port will do gets no relay: it needs none.
fn on_windows_alone(
    key: Key,
    forward: &Forward,
    target: &Result<IpAddr, Verdict>,
    surroundings: &Surroundings<'_>,
) -> Result<Means, Verdict> {
    let policy = surroundings.policy;
    let narrowed = (policy.reach < forward.reach).then(|| {
        format!(
            "`reach = \"{}\"` in companion.toml keeps it off the local network",
            policy.reach
        )
    });
    if !forward.auto && fills_gap(key, forward, surroundings) {
        let ip = target.clone()?;
        return Ok(Means::Relay(Way {
            target: SocketAddr::new(ip, forward.port),
            reach: Reach::Host,
            fills_gap: true,
            note: narrowed.unwrap_or_default(),
        }));
    }
    let narrowed = narrowed.map(|why| format!("{why}; ")).unwrap_or_default();
    without_relay(forward, target, &narrowed, surroundings)
}

/// Windows itself reaches a VM without help: at the VM's own address, and WSL shares wildcard listeners on Windows' loopback,
/// at their own port. It does so for TCP only.
fn without_relay(
    forward: &Forward,
    target: &Result<IpAddr, Verdict>,
    narrowed: &str,
    surroundings: &Surroundings<'_>,
) -> Result<Means, Verdict> {
    let (port, listen_port) = (forward.port, forward.listen_port);
    if port != listen_port && !forward.auto {
        let why = if surroundings.backend != Backend::Relay {
            format!(
                "`backend = \"{}\"` in companion.toml serves networks only",
                surroundings.backend
            )
        } else if has_loopback(surroundings) {
            format!("WSL itself has 127.0.0.1:{listen_port} for another listener of the VM")
        } else {
            "Windows' 127.0.0.1 is not there, or `exclude-interfaces` in companion.toml names its interface"
                .to_owned()
        };
        return Err(Verdict::denied(format!(
            "{narrowed}Windows itself reaches it at port {port}, and cannot at port {listen_port}: {why}; allow reach `lan`, \
             or let the service listen on port {listen_port}"
        )));
    }
    let way = match (forward.protocol, forward.bind) {
        (Protocol::Tcp, Bind::Wildcard) if !forward.loopback_gap => {
            format!("Windows itself reaches it at localhost:{port} through WSL's own localhost forwarding")
        }
        (Protocol::Tcp, Bind::Wildcard | Bind::Address) => {
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
    pub(super) fn denied(reason: String) -> Self {
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
