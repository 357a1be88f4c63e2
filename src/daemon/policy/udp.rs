//! The UDP sockets that no rule can share: what runs a network or finds things in it. Passed on to another network, such
//! a service misleads whoever hears it.

use crate::config::Facts;
use crate::listeners::Socket;

/// Ports, and what they are for.
const NEVER: [(u16, &str); 10] = [
    (67, "DHCP"),
    (68, "DHCP"),
    (137, "the name service of NetBIOS"),
    (138, "the datagram service of NetBIOS"),
    (546, "DHCPv6"),
    (547, "DHCPv6"),
    (1900, "SSDP"),
    (3702, "WS-Discovery"),
    (5353, "multicast DNS"),
    (5355, "LLMNR"),
];

/// The resolver of systemd; 15 bytes of its name are kept.
const SYSTEM_RESOLVER: &str = "systemd-resolve";

/// Why this UDP socket is never shared; none if a rule may share it.
pub(super) fn never(socket: &Socket, facts: &impl Facts) -> Option<String> {
    let port = socket.address.port();
    if let Some((_, what)) = NEVER.iter().find(|(never, _)| *never == port) {
        return Some(format!(
            "UDP port {port} is for {what}, which must not cross from one network into another: it is never shared"
        ));
    }
    let is_resolver = facts
        .values("process")
        .any(|name| name.starts_with(SYSTEM_RESOLVER));
    is_resolver.then(|| "it is the system's own DNS resolver, which is never shared".to_owned())
}
