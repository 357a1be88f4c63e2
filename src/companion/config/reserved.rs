//! The ports that Windows keeps for itself. No configuration opens them: Windows knows no privileged ports, and
//! whoever answers on one of these is taken for Windows by its clients, which then offer their passwords.

use std::ops::RangeInclusive;

/// Each with what Windows does there.
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

/// What Windows itself uses the port for; `None` if it leaves it to others.
pub(super) fn use_of(port: u16) -> Option<&'static str> {
    RESERVED
        .iter()
        .find(|(ports, _)| ports.contains(&port))
        .map(|(_, what)| *what)
}
