//! The ports that Windows keeps for itself. No configuration opens them: Windows knows no privileged ports, and
//! whoever answers on one of these is taken for Windows by its clients, which then offer their passwords.

use std::ops::RangeInclusive;

use wslnet_protocol::Protocol;

/// Each with what Windows does there, over TCP, UDP or both. Refused over either: a client that meets a stranger at one of
/// these numbers rarely looks at the protocol first.
const RESERVED: [(RangeInclusive<u16>, &str); 25] = [
    (53..=53, "DNS"),
    (67..=68, "DHCP"),
    (88..=88, "Kerberos"),
    (123..=123, "the clock (NTP)"),
    (135..=135, "remote procedure calls"),
    (137..=139, "NetBIOS"),
    (389..=389, "LDAP"),
    (445..=445, "file sharing (SMB)"),
    (464..=464, "Kerberos passwords"),
    (500..=500, "VPNs (IKE)"),
    (593..=593, "remote procedure calls over HTTP"),
    (636..=636, "LDAP over TLS"),
    (1900..=1900, "device discovery (SSDP)"),
    (2179..=2179, "Hyper-V consoles"),
    (3268..=3269, "the global catalog"),
    (3389..=3389, "Remote Desktop"),
    (4500..=4500, "VPNs (IPsec)"),
    (5353..=5353, "name lookup (mDNS)"),
    (5355..=5355, "name lookup (LLMNR)"),
    (5357..=5357, "device discovery (WSD)"),
    (5358..=5358, "device discovery over TLS (WSD)"),
    (5985..=5985, "remote management (WinRM)"),
    (5986..=5986, "remote management over TLS (WinRM)"),
    (7680..=7680, "Windows Update (delivery optimization)"),
    (47001..=47001, "remote management (WinRM service)"),
];

/// Those that Windows uses over UDP only, and that people like for services of their own over TCP. From Microsoft's "Service
/// overview and network port requirements for Windows", the inbound rules that Windows' firewall brings along, and, for
/// 5050, from what `CDPSvc` opens.
const RESERVED_UDP: [(RangeInclusive<u16>, &str); 6] = [
    (546..=547, "DHCP for IPv6"),
    (1701..=1701, "VPNs (L2TP)"),
    (2177..=2177, "media streaming (qWAVE)"),
    (3544..=3544, "IPv6 tunnels (Teredo)"),
    (3702..=3702, "device discovery (WSD)"),
    (5050..=5050, "connected devices (CDP)"),
];

/// What Windows itself uses the port for; `None` if it leaves it to others.
pub(super) fn use_of(protocol: Protocol, port: u16) -> Option<&'static str> {
    let of_protocol = match protocol {
        Protocol::Tcp => &[][..],
        Protocol::Udp => &RESERVED_UDP,
    };
    RESERVED
        .iter()
        .chain(of_protocol)
        .find(|(ports, _)| ports.contains(&port))
        .map(|(_, what)| *what)
}
