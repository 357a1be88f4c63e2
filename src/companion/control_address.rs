//! Where the control port belongs. Pure; the answer can change while the program runs: the WSL adapter may come back with
//! another network, and companion.toml may be edited.
//!
//! Windows does not tell a program the networking mode of WSL without `.wslconfig` being read, which says what was asked for and not
//! what became of it (WSL falls back by itself). So the port listens in both places where a distro may look for it, and the mode that
//! a session names is held against the place it comes from: on the WSL adapter, which is there in NAT mode and can be left over in the
//! others, and on 127.0.0.1, which in NAT mode no VM reaches. Never on a wildcard.

use std::net::{Ipv4Addr, SocketAddr};

use wslnet_protocol::DEFAULT_PORT;

use crate::config::Config;
use crate::host::{Interface, wsl_adapter};

/// Who says where the control port listens: the command line, else companion.toml, else the machine.
#[derive(Clone, Copy, Debug)]
pub struct ControlAddress {
    /// The address on the command line.
    pub named: Option<SocketAddr>,
}

/// The addresses of the control port: where it listens, or should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlPorts {
    /// In the network of the VM, for distros in NAT mode.
    pub network: Option<SocketAddr>,
    /// On the loopback address, for distros whose VM shares Windows' ports.
    pub loopback: Option<SocketAddr>,
}

impl ControlPorts {
    /// This one address, as what it is.
    pub fn only(address: SocketAddr) -> Self {
        let mut ports = Self::default();
        ports.put(address);
        ports
    }

    /// Takes an address in, as what it is.
    pub fn put(&mut self, address: SocketAddr) {
        if address.ip().to_canonical().is_loopback() {
            self.loopback = Some(address);
        } else {
            self.network = Some(address);
        }
    }

    /// All of them.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.network.into_iter().chain(self.loopback)
    }

    /// Whether a port number is one of theirs.
    pub fn have(&self, port: u16) -> bool {
        self.addresses().any(|address| address.port() == port)
    }

    /// Those that are not among `open`. Port 0 means any port, so the one that the system chose is right.
    pub fn missing_in(&self, open: &Self) -> impl Iterator<Item = SocketAddr> {
        let fits = |wanted: SocketAddr, open: Option<SocketAddr>| {
            open.is_some_and(|open| {
                wanted.ip() == open.ip() && (wanted.port() == open.port() || wanted.port() == 0)
            })
        };
        let network = self.network.filter(|wanted| !fits(*wanted, open.network));
        let loopback = self.loopback.filter(|wanted| !fits(*wanted, open.loopback));
        network.into_iter().chain(loopback)
    }
}

impl ControlAddress {
    /// Where the control port should listen: at the one address that somebody names, else on 127.0.0.1 and, while there is one, on the
    /// WSL adapter.
    pub fn of(&self, config: &Config, interfaces: &[Interface]) -> ControlPorts {
        if let Some(address) = self.named.or(config.listen) {
            return ControlPorts::only(address);
        }
        let adapter = wsl_adapter(interfaces);
        let mut addresses = adapter.iter().flat_map(|adapter| &adapter.addresses);
        let network = addresses.find(|entry| entry.preferred && entry.address.is_ipv4());
        ControlPorts {
            network: network.map(|entry| SocketAddr::new(entry.address, DEFAULT_PORT)),
            loopback: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))),
        }
    }

    /// Whether a control port that listens at `open`, and could not at `given_up`, should listen elsewhere. An adapter that is gone for
    /// a while is no reason: it usually comes back as it was.
    pub fn is_elsewhere(
        &self,
        open: &ControlPorts,
        given_up: &ControlPorts,
        config: &Config,
        interfaces: &[Interface],
    ) -> bool {
        let wanted = self.of(config, interfaces);
        let is_new = |address: &SocketAddr| !given_up.addresses().any(|other| other == *address);
        let follows_machine = self.named.or(config.listen).is_none();
        let is_left =
            |open: Option<SocketAddr>, wanted: Option<SocketAddr>| open.is_some() && wanted.is_none();
        let named_one_only = !follows_machine
            && (is_left(open.network, wanted.network) || is_left(open.loopback, wanted.loopback));
        named_one_only || wanted.missing_in(open).any(|address| is_new(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::InterfaceAddress;

    const ADAPTER: [u8; 4] = [172, 28, 0, 1];
    const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

    #[test]
    fn the_command_line_comes_first_then_the_file_then_the_machine() {
        let (named, listed) = (at([10, 0, 0, 1], 1), at([10, 0, 0, 2], 2));
        let of = |named, listen| {
            let config = Config {
                listen,
                ..Config::default()
            };
            ControlAddress { named }.of(&config, &[wsl(ADAPTER)])
        };

        assert_eq!(of(Some(named), Some(listed)), ControlPorts::only(named));
        assert_eq!(of(None, Some(listed)), ControlPorts::only(listed));
        assert_eq!(
            of(None, None),
            ControlPorts {
                network: Some(at(ADAPTER, DEFAULT_PORT)),
                loopback: Some(at(LOOPBACK, DEFAULT_PORT)),
            }
        );
    }

    #[test]
    fn without_an_adapter_it_listens_on_the_loopback_address_alone() {
        let ports = ControlAddress { named: None }.of(&Config::default(), &[]);

        assert_eq!(ports, ControlPorts::only(at(LOOPBACK, DEFAULT_PORT)));
    }

    #[test]
    fn a_new_network_of_the_adapter_moves_the_port_and_a_missing_adapter_does_not() {
        let follow = ControlAddress { named: None };
        let open = follow.of(&Config::default(), &[wsl(ADAPTER)]);
        let moved = |open: &ControlPorts, interfaces: &[Interface]| {
            follow.is_elsewhere(open, &ControlPorts::default(), &Config::default(), interfaces)
        };

        assert!(!moved(&open, &[wsl(ADAPTER)]));
        assert!(!moved(&open, &[]));
        assert!(moved(&open, &[wsl([172, 30, 0, 1])]));
        assert!(moved(
            &ControlPorts::only(at(LOOPBACK, DEFAULT_PORT)),
            &[wsl(ADAPTER)]
        ));
    }

    #[test]
    fn an_address_that_could_not_be_had_moves_nothing() {
        let follow = ControlAddress { named: None };
        let open = ControlPorts::only(at(ADAPTER, DEFAULT_PORT));
        let given_up = ControlPorts::only(at(LOOPBACK, DEFAULT_PORT));

        assert!(!follow.is_elsewhere(&open, &given_up, &Config::default(), &[wsl(ADAPTER)]));
    }

    #[test]
    fn a_named_address_is_the_only_one() {
        let follow = ControlAddress { named: None };
        let both = follow.of(&Config::default(), &[wsl(ADAPTER)]);
        let config = Config {
            listen: Some(at(LOOPBACK, DEFAULT_PORT)),
            ..Config::default()
        };

        assert!(follow.is_elsewhere(&both, &ControlPorts::default(), &config, &[wsl(ADAPTER)]));
    }

    #[test]
    fn any_port_will_do_when_any_was_asked_for() {
        let follow = ControlAddress {
            named: Some(at(LOOPBACK, 0)),
        };
        let open = ControlPorts::only(at(LOOPBACK, 4711));

        assert!(!follow.is_elsewhere(&open, &ControlPorts::default(), &Config::default(), &[]));
    }

    fn at(ip: [u8; 4], port: u16) -> SocketAddr {
        (ip, port).into()
    }

    fn wsl(ip: [u8; 4]) -> Interface {
        Interface {
            name: "vEthernet (WSL)".to_owned(),
            description: "Hyper-V Virtual Ethernet Adapter".to_owned(),
            adapter: String::new(),
            category: None,
            index: 7,
            up: true,
            loopback: false,
            addresses: vec![InterfaceAddress {
                address: ip.into(),
                prefix_length: 20,
                preferred: true,
            }],
        }
    }
}
