//! Where this VM stands in the network: interfaces, addresses, default gateways, and the networking mode of WSL.
//!
//! Only observes. The types of the netlink crates stay inside `watcher` and `query`.

mod mode;
mod query;
mod watcher;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use self::mode::{
    Detected, Detection, Inquiry, ModeError, NetworkMode, NotConfigured, Probe, detect, is_wsl,
};
pub use self::watcher::{WatchError, Watcher};

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Iface {
    /// Its name, for example `eth0`.
    pub name: String,
    /// Its addresses with the lengths of their prefixes, in the kernel's order: primary ones come first.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// The network as the kernel describes it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkView {
    /// Interfaces by index.
    pub interfaces: BTreeMap<u32, Iface>,
    /// The gateway of the best IPv4 default route of the main table, and the index of its interface.
    pub default_gateway_v4: Option<(Ipv4Addr, u32)>,
    /// The same for IPv6.
    pub default_gateway_v6: Option<(Ipv6Addr, u32)>,
}

impl NetworkView {
    /// The IPv4 address under which the network of the default gateway knows this VM: the one in the gateway's subnet,
    /// or, when none is (point-to-point, on-link gateways), the first one of that interface.
    pub fn vm_address(&self) -> Option<Ipv4Addr> {
        let (gateway, index) = self.default_gateway_v4?;
        let addresses = || {
            self.interfaces
                .get(&index)
                .into_iter()
                .flat_map(|iface| &iface.addresses)
                .filter_map(|(address, prefix)| match address {
                    IpAddr::V4(address) => Some((*address, *prefix)),
                    IpAddr::V6(_) => None,
                })
        };
        addresses()
            .find(|(address, prefix)| in_same_subnet(*address, gateway, *prefix))
            .or_else(|| addresses().next())
            .map(|(address, _)| address)
    }
}

fn in_same_subnet(one: Ipv4Addr, other: Ipv4Addr, prefix: u8) -> bool {
    let host_bits = 32_u32.saturating_sub(u32::from(prefix));
    let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
    one.to_bits() & mask == other.to_bits() & mask
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn the_vm_address_is_the_one_in_the_gateways_subnet() {
        let view = view(
            &["10.1.1.1/24", "172.20.5.9/20", "fe80::1/64"],
            Some("172.20.0.1"),
        );

        assert_eq!(view.vm_address(), Some(Ipv4Addr::new(172, 20, 5, 9)));
    }

    #[test]
    fn a_gateway_outside_every_subnet_takes_the_first_address() {
        assert_eq!(
            view(&["10.1.1.1/32"], Some("169.254.1.1")).vm_address(),
            Some(Ipv4Addr::new(10, 1, 1, 1))
        );
    }

    #[test]
    fn without_a_gateway_or_an_ipv4_address_there_is_none() {
        assert_eq!(view(&["10.1.1.1/24"], None).vm_address(), None);
        assert_eq!(view(&["fe80::1/64"], Some("10.1.1.254")).vm_address(), None);
        assert_eq!(view(&[], Some("10.1.1.254")).vm_address(), None);
    }

    #[test]
    fn prefixes_of_every_length_compare() {
        let [near, far] = ["10.0.0.1", "11.0.0.1"].map(|text| text.parse().unwrap());

        assert!(in_same_subnet(near, far, 0));
        assert!(in_same_subnet(near, far, 7));
        assert!(!in_same_subnet(near, far, 8));
        assert!(in_same_subnet(near, near, 32));
    }

    fn view(addresses: &[&str], gateway: Option<&str>) -> NetworkView {
        let addresses = addresses.iter().map(|text| {
            let (address, prefix) = text.split_once('/').unwrap();
            (address.parse().unwrap(), prefix.parse().unwrap())
        });
        let eth0 = Iface {
            name: "eth0".into(),
            addresses: addresses.collect(),
        };
        NetworkView {
            interfaces: BTreeMap::from([(2, eth0)]),
            default_gateway_v4: gateway.map(|text| (text.parse().unwrap(), 2)),
            default_gateway_v6: None,
        }
    }
}
