//! Where the control port belongs. Pure; the answer can change while the program runs: the WSL adapter may come back with
//! another network, and companion.toml may be edited.

use std::net::SocketAddr;

use wslnet_protocol::DEFAULT_PORT;

use crate::config::Config;
use crate::host::{Interface, wsl_adapter};

/// Who says where the control port listens: the command line, else companion.toml, else the WSL adapter.
#[derive(Clone, Copy, Debug)]
pub struct ControlAddress {
    /// The address on the command line.
    pub named: Option<SocketAddr>,
}

impl ControlAddress {
    /// Where the control port should listen; `None` while there is no WSL adapter and nobody names an address.
    pub fn of(&self, config: &Config, interfaces: &[Interface]) -> Option<SocketAddr> {
        self.named.or(config.listen).or_else(|| {
            let adapter = wsl_adapter(interfaces)?;
            let entry = adapter
                .addresses
                .iter()
                .find(|entry| entry.preferred && entry.address.is_ipv4())?;
            Some(SocketAddr::new(entry.address, DEFAULT_PORT))
        })
    }

    /// Whether a control port that listens at `control` should listen elsewhere. An adapter that is gone for a while is
    /// no reason: it usually comes back as it was.
    pub fn is_elsewhere(&self, control: SocketAddr, config: &Config, interfaces: &[Interface]) -> bool {
        // Port 0 means any port, so the one that the system chose is right.
        let fits = |wanted: SocketAddr| {
            wanted.ip() == control.ip() && (wanted.port() == control.port() || wanted.port() == 0)
        };
        self.of(config, interfaces).is_some_and(|wanted| !fits(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::InterfaceAddress;

    const ADAPTER: [u8; 4] = [172, 28, 0, 1];

    #[test]
    fn the_command_line_comes_first_then_the_file_then_the_adapter() {
        let (named, listed) = (Some(at([10, 0, 0, 1], 1)), Some(at([10, 0, 0, 2], 2)));
        let of = |named, listen| {
            ControlAddress { named }.of(
                &Config {
                    listen,
                    ..Config::default()
                },
                &[wsl(ADAPTER)],
            )
        };

        assert_eq!(of(named, listed), named);
        assert_eq!(of(None, listed), listed);
        assert_eq!(of(None, None), Some(at(ADAPTER, DEFAULT_PORT)));
        assert_eq!(ControlAddress { named: None }.of(&Config::default(), &[]), None);
    }

    #[test]
    fn a_new_network_of_the_adapter_moves_the_port_and_a_missing_adapter_does_not() {
        let follow = ControlAddress { named: None };
        let control = at(ADAPTER, DEFAULT_PORT);
        let moved = |interfaces: &[Interface]| follow.is_elsewhere(control, &Config::default(), interfaces);

        assert!(!moved(&[wsl(ADAPTER)]));
        assert!(!moved(&[]));
        assert!(moved(&[wsl([172, 30, 0, 1])]));
    }

    #[test]
    fn any_port_will_do_when_any_was_asked_for() {
        let named = Some(at([127, 0, 0, 1], 0));

        assert!(!ControlAddress { named }.is_elsewhere(at([127, 0, 0, 1], 4711), &Config::default(), &[]));
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
