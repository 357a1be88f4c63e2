//! Which clients a forward serves. Asked for each one that connects.
//!
//! A Windows machine may have an address that the whole Internet can reach, by IPv6 above all. "The local network" is meant
//! all the same, so what comes through a router is turned away unless companion.toml says otherwise.

use std::net::IpAddr;

use crate::config::Clients;
use crate::host::Interface;

/// Whether a client at this address is served.
///
/// # Errors
/// Why not, in one sentence for people.
pub fn admitted(client: IpAddr, interfaces: &[Interface], clients: Clients) -> Result<(), String> {
    let client = client.to_canonical();
    let is_link_local = match client {
        IpAddr::V4(client) => client.is_link_local(),
        IpAddr::V6(client) => client.is_unicast_link_local(),
    };
    let networks = || {
        interfaces
            .iter()
            .filter(|interface| interface.up)
            .flat_map(|interface| &interface.addresses)
    };
    let is_neighbour = || is_link_local || networks().any(|network| network.host_part(client).is_some());
    if clients == Clients::Any || is_neighbour() {
        return Ok(());
    }
    Err(format!(
        "{client} is in none of Windows' own networks: `clients = \"any\"` in companion.toml admits it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::InterfaceAddress;

    #[test]
    fn neighbours_are_served_and_others_are_not() {
        for (client, served) in [
            ("192.168.1.7", true),
            ("192.168.1.20", true),
            ("::ffff:192.168.1.7", true),
            ("2001:db8:1::7", true),
            ("fe80::1", true),
            ("192.168.2.7", false),
            ("203.0.113.9", false),
            ("2001:db8:2::7", false),
        ] {
            assert_eq!(
                admitted(parse(client), &machine(true), Clients::LocalSubnet).is_ok(),
                served,
                "{client}"
            );
        }
    }

    #[test]
    fn anybody_is_served_where_that_is_allowed() {
        assert_eq!(
            admitted(parse("203.0.113.9"), &machine(true), Clients::Any),
            Ok(())
        );
    }

    #[test]
    fn the_network_of_a_dead_interface_is_nobodys() {
        let refusal = admitted(parse("192.168.1.7"), &machine(false), Clients::LocalSubnet);

        assert!(refusal.is_err_and(|why| why.contains("clients = \"any\"")));
    }

    fn machine(up: bool) -> Vec<Interface> {
        let network = |address: &str, prefix_length| InterfaceAddress {
            address: parse(address),
            prefix_length,
            preferred: true,
        };
        vec![Interface {
            name: "Ethernet".to_owned(),
            description: String::new(),
            index: 3,
            up,
            loopback: false,
            addresses: vec![network("192.168.1.20", 24), network("2001:db8:1::20", 64)],
        }]
    }

    fn parse(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }
}
