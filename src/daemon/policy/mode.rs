//! What the networking mode of WSL has to say of a listener before anything else about its socket is asked.

use wslnet_protocol::Protocol;

use super::{DecidedBy, Surroundings, Verdict};
use crate::config::{ListenPort, Rule};
use crate::listeners::Socket;
use crate::network::NetworkMode;

/// The TCP ports that Windows keeps for itself in mirrored mode, and so never hands to the VM what comes in at them
/// (learn.microsoft.com/windows/wsl/troubleshooting; microsoft/WSL issue 12891). UDP 68 is one more, and never shared anyway.
const NEVER_MIRRORED: [u16; 7] = [135, 1900, 2869, 3702, 5004, 5357, 5358];

/// The verdict that follows from the mode alone; none where the socket decides.
pub(super) fn verdict(socket: &Socket, rule: Option<&Rule>, surroundings: &Surroundings) -> Option<Verdict> {
    reason(socket, rule, surroundings).map(|reason| Verdict::Withhold {
        reason,
        decided_by: DecidedBy::Mode,
    })
}

fn reason(socket: &Socket, rule: Option<&Rule>, surroundings: &Surroundings) -> Option<String> {
    let mode = &surroundings.mode;
    let named = format!("WSL's networking mode is {mode}");
    match mode {
        NetworkMode::Nat => None,
        NetworkMode::Mirrored | NetworkMode::VirtioProxy => as_they_are(socket, rule, mode),
        NetworkMode::Bridged => Some(format!(
            "{named}: the VM is on the local network itself, and whoever is there reaches {} without Windows having a say. \
             wslnetd opens nothing and closes nothing in this mode: what must be private has to listen on 127.0.0.1",
            there(socket, surroundings)
        )),
        NetworkMode::None => Some(format!(
            "{named}: the VM has no network, so nobody can reach it (networkingMode in .wslconfig)"
        )),
        NetworkMode::Wsl1 => Some(format!(
            "{named}: programs of WSL 1 listen on Windows itself, and there is nothing to be shared"
        )),
        NetworkMode::Unknown(_) => Some(format!(
            "{named}, and what that means is not known, so nothing is exposed: see `wslnetd status`"
        )),
    }
}

/// Where ports are shared, nothing can be had but the port as it is.
fn as_they_are(socket: &Socket, rule: Option<&Rule>, mode: &NetworkMode) -> Option<String> {
    let port = socket.address.port();
    if *mode == NetworkMode::Mirrored && socket.protocol == Protocol::Tcp && NEVER_MIRRORED.contains(&port) {
        return Some(format!(
            "in WSL's networking mode {mode} Windows keeps TCP port {port} for itself, and the VM gets nothing of it: let the service \
             listen on another port"
        ));
    }
    let rule = rule?;
    match rule.listen_port {
        ListenPort::Fixed(other) if other != port => Some(format!(
            "the rule for \"{}\" ({}:{}) wants it at port {other}, and in WSL's networking mode {mode} Windows has port {port} as it is \
             and nothing is relayed: remove `listen-port`, or let the service listen on port {other}",
            rule.text, rule.place.name, rule.place.line
        )),
        // There is no other port to be had, and its own cannot be taken by anybody else.
        ListenPort::Fixed(_) | ListenPort::Same | ListenPort::Auto => None,
    }
}

/// Where a socket is reached by the VM's own addresses, for people.
fn there(socket: &Socket, surroundings: &Surroundings) -> String {
    let port = socket.address.port();
    let addresses = surroundings.vm_addresses.iter();
    let places = addresses
        .filter(|address| socket.is_wildcard() || **address == socket.canonical_ip())
        .map(|address| std::net::SocketAddr::new(*address, port).to_string())
        .collect::<Vec<_>>();
    if places.is_empty() {
        format!("port {port}, unless it is bound to loopback")
    } else {
        places.join(", ")
    }
}
