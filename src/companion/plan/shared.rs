//! Forwards of distros whose VM shares Windows' ports. Nothing is relayed for them and nothing is dialled: the port is Windows' own
//! already, and all that can be done is to let the local network in.

use wslnet_protocol::{Bind, Forward, ForwardState, ForwardStatus, Mode, Reach};

use super::means::Means;
use super::statuses::nowhere;
use super::{Failure, LeftOut, Opening, Opinions, Stuck, Surroundings, Verdict, loopback_gap};
use crate::ledger::Key;

/// How such a forward can be applied, or why it cannot, were nobody else there. That the port is none that is always refused was
/// asked before.
pub(super) fn means(
    key: Key,
    forward: &Forward,
    mode: Mode,
    surroundings: &Surroundings<'_>,
) -> Result<Means, Verdict> {
    let Forward { port, bind, .. } = *forward;
    if key.port != port {
        return Err(Verdict::denied(format!(
            "in WSL's networking mode {mode} Windows has the VM's port {port} as its own, and nothing relays it to port {}: remove \
             `listen-port` from the rule, or let the service listen on port {}",
            key.port, key.port
        )));
    }
    let ceiling = surroundings.policy.reach;
    match (forward.reach.min(ceiling), bind) {
        (Reach::Lan, Bind::Wildcard | Bind::Address) => Ok(Means::Open(mode)),
        (Reach::Host, Bind::Wildcard) => {
            let narrowed = if ceiling < forward.reach {
                format!("`reach = \"{ceiling}\"` in companion.toml keeps it off the local network; ")
            } else {
                String::new()
            };
            Ok(Means::Nothing(format!("{narrowed}{}", on_windows(port))))
        }
        (Reach::Host, Bind::Address) => Err(Verdict::denied(format!(
            "it is bound to one address of Windows only, at which Windows itself does not reach the VM in networking mode {mode}: let \
             the service listen on 0.0.0.0, or allow reach `lan`"
        ))),
    }
}

/// How Windows itself reaches what listens on all addresses.
fn on_windows(port: u16) -> String {
    format!("Windows itself reaches it at 127.0.0.1:{port}")
}

/// The state of a forward for which a port was to be opened.
pub(super) fn status(
    opening: &Opening,
    key: Key,
    opinions: &Opinions,
    left_out: &[LeftOut],
) -> ForwardStatus {
    let mut listen = Vec::new();
    let (state, reason) = match opinions.get(&key) {
        _ if opening.listen.is_empty() => (ForwardState::Pending, nowhere(left_out)),
        None => (
            ForwardState::Pending,
            "Windows' firewall is being asked to let the local network in".to_owned(),
        ),
        Some(Ok(())) => {
            listen.extend(&opening.listen);
            if opening.is_on_loopback {
                listen.push(loopback_gap(key.port));
            }
            (ForwardState::Active, String::new())
        }
        Some(Err(Failure {
            reason,
            conflict,
            stuck,
        })) => {
            let state = match (stuck, conflict) {
                (Some(Stuck::Denied), _) => ForwardState::Denied,
                (Some(Stuck::Contended), _) => ForwardState::Contended,
                (None, Some(_)) => ForwardState::Conflict,
                (None, None) => ForwardState::Pending,
            };
            let own = if opening.is_on_loopback && conflict.is_none() {
                format!("; {}", on_windows(key.port))
            } else {
                String::new()
            };
            (state, format!("{reason}{own}"))
        }
    };
    ForwardStatus {
        id: opening.id,
        state,
        reason,
        listen,
    }
}
