//! Which clients a forward serves. Asked for each one that connects.
//!
//! A Windows machine may have an address that the whole Internet can reach, by IPv6 above all. "The local network" is meant
//! all the same, so what comes through a router is turned away unless companion.toml says otherwise.
//!
//! Where WSL leaves Windows' own 127.0.0.1 free a forward listens there too. That door is for the programs of Windows, and no
//! other door is: who claims to be local anywhere else is turned away, and so is at this one whoever is not.

use std::net::IpAddr;

use crate::config::Clients;
use crate::host::Interface;

/// Whether a client at this address is served by a listener at that one.
///
/// # Errors
/// Why not, in one sentence for people.
pub fn admitted(
    client: IpAddr,
    listener: IpAddr,
    interfaces: &[Interface],
    clients: Clients,
) -> Result<(), String> {
    let (client, listener) = (client.to_canonical(), listener.to_canonical());
    match (client.is_loopback(), listener.is_loopback()) {
        (true, true) => return Ok(()),
        (false, false) => {}
        (true, false) | (false, true) => {
            return Err(format!(
                "{client} does not come in at {listener}: the loopback address is for the programs of Windows, and only that one"
            ));
        }
    }
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

    /// Where most of these clients come in.
    const OURS: &str = "192.168.1.20";

    #[test]
    fn the_loopback_door_is_for_local_programs_and_they_have_no_other() {
        let mut interfaces = machine(true);
        interfaces.push(Interface {
            name: "Loopback Pseudo-Interface 1".to_owned(),
            loopback: true,
            addresses: vec![InterfaceAddress {
                address: parse("127.0.0.1"),
                prefix_length: 8,
                preferred: true,
            }],
            ..machine(true).remove(0)
        });
        for (client, listener, served) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.9", "127.0.0.1", true),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", OURS, false),
            ("::1", "2001:db8:1::20", false),
            (OURS, "127.0.0.1", false),
            ("192.168.1.7", "127.0.0.1", false),
            ("203.0.113.9", "127.0.0.1", false),
        ] {
            for clients in [Clients::LocalSubnet, Clients::Any] {
                let answer = admitted(parse(client), parse(listener), &interfaces, clients);
                assert_eq!(answer.is_ok(), served, "{client} at {listener}: {answer:?}");
            }
        }
    }

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
                admitted(parse(client), parse(OURS), &machine(true), Clients::LocalSubnet).is_ok(),
                served,
                "{client}"
            );
        }
    }

    #[test]
    fn anybody_is_served_where_that_is_allowed() {
        assert_eq!(
            admitted(parse("203.0.113.9"), parse(OURS), &machine(true), Clients::Any),
            Ok(())
        );
    }

    #[test]
    fn the_network_of_a_dead_interface_is_nobodys() {
        let refusal = admitted(
            parse("192.168.1.7"),
            parse(OURS),
            &machine(false),
            Clients::LocalSubnet,
        );

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
            adapter: String::new(),
            category: None,
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
