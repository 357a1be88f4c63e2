//! Which interfaces forwards listen on, and which are left out for the kind of network that they are in. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::Policy;
use crate::control_address::ControlPorts;
use crate::host::{Category, Interface, interface_of, is_wsl_adapter};
use crate::target;

/// An interface that would be fit, were it not for its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// The system's number for it, which a command can name whatever the name is.
    pub index: u32,
    /// The category of its network; `None` if Windows does not say.
    pub category: Option<Category>,
}

impl LeftOut {
    /// Why, and what to do, in a sentence for people.
    pub fn reason(&self) -> String {
        let Self {
            name,
            index,
            category,
        } = self;
        let (what, word) = match category {
            Some(category) => (format!("`{name}` is in a {category} network"), category.name()),
            None => (
                format!(
                    "Windows does not say in which kind of network `{name}` is, so that it counts as public"
                ),
                Category::Public.name(),
            ),
        };
        let trust = match category {
            Some(Category::Private | Category::Domain) => String::new(),
            Some(Category::Public) | None => format!(
                "if its neighbours can be trusted run `Set-NetConnectionProfile -InterfaceIndex {index} -NetworkCategory \
                 Private` as an administrator, or "
            ),
        };
        format!("{what}: {trust}add \"{word}\" to `networks` in companion.toml")
    }
}

/// The addresses on which forwards of reach `lan` listen, in order: those of the networks that Windows is in and whose category
/// `networks` allows, but not the one that it shares with the VM, not what `exclude-interfaces` names, and never a wildcard or
/// loopback. None at all while the control port is not in the VM's network, because then that cannot be told from the others.
pub fn lan_addresses(interfaces: &[Interface], control: &ControlPorts, policy: &Policy) -> Vec<IpAddr> {
    match vm_network(interfaces, control) {
        Some(own) => addresses_of(fit(interfaces, Some(own), policy), policy),
        None => Vec::new(),
    }
}

/// The same for distros whose VM shares Windows' ports, and so its addresses: there is no network of the VM to be told apart.
pub fn shared_addresses(interfaces: &[Interface], policy: &Policy) -> Vec<IpAddr> {
    addresses_of(fit(interfaces, None, policy), policy)
}

/// The same addresses, each with the length of its network's prefix.
pub(super) fn shared_networks(interfaces: &[Interface], policy: &Policy) -> BTreeSet<(IpAddr, u8)> {
    let admitted = fit(interfaces, None, policy).filter(|interface| policy.admits(interface.category));
    admitted.flat_map(networks).collect()
}

fn addresses_of<'a>(fit: impl Iterator<Item = &'a Interface>, policy: &Policy) -> Vec<IpAddr> {
    let admitted = fit.filter(|interface| policy.admits(interface.category));
    let addresses: BTreeSet<IpAddr> = admitted.flat_map(addresses).collect();
    addresses.into_iter().collect()
}

/// The interfaces that are left out for their networks alone.
pub fn left_out(interfaces: &[Interface], control: &ControlPorts, policy: &Policy) -> Vec<LeftOut> {
    fit(interfaces, vm_network(interfaces, control), policy)
        .filter(|interface| !policy.admits(interface.category) && addresses(interface).next().is_some())
        .map(|interface| LeftOut {
            name: interface.name.clone(),
            index: interface.index,
            category: interface.category,
        })
        .collect()
}

/// Our own address in the network of the VM, if there is one on this machine now.
fn vm_network(interfaces: &[Interface], control: &ControlPorts) -> Option<IpAddr> {
    let own = control.network?.ip().to_canonical();
    interface_of(interfaces, own).map(|_| own)
}

/// The interfaces that are fit, whatever their networks are. Not the one with our own address in the network of the VM.
fn fit<'a>(
    interfaces: &'a [Interface],
    own: Option<IpAddr>,
    policy: &'a Policy,
) -> impl Iterator<Item = &'a Interface> {
    interfaces.iter().filter(move |interface| {
        let has_own = own.is_some_and(|own| interface.addresses.iter().any(|a| a.address == own));
        let reaches_vm = has_own || is_wsl_adapter(interface);
        interface.up && !interface.loopback && !reaches_vm && !policy.excludes(&interface.name)
    })
}

fn addresses(interface: &Interface) -> impl Iterator<Item = IpAddr> {
    networks(interface).map(|(address, _)| address)
}

fn networks(interface: &Interface) -> impl Iterator<Item = (IpAddr, u8)> {
    let is_fit = |address: IpAddr| address == address.to_canonical() && target::is_plain_unicast(address);
    let preferred = interface.addresses.iter().filter(|a| a.preferred);
    preferred
        .map(|a| (a.address, a.prefix_length))
        .filter(move |(address, _)| is_fit(*address))
}
