//! Which interfaces forwards listen on, and which are left out for the kind of network that they are in. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::config::Policy;
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
/// loopback. None at all while the control address is gone, because then the VM's network cannot be told from the others.
pub fn lan_addresses(interfaces: &[Interface], control: SocketAddr, policy: &Policy) -> Vec<IpAddr> {
    let addresses: BTreeSet<IpAddr> = fit(interfaces, control, policy)
        .filter(|interface| policy.admits(interface.category))
        .flat_map(addresses)
        .collect();
    addresses.into_iter().collect()
}

/// The interfaces that are left out for their networks alone.
pub fn left_out(interfaces: &[Interface], control: SocketAddr, policy: &Policy) -> Vec<LeftOut> {
    fit(interfaces, control, policy)
        .filter(|interface| !policy.admits(interface.category) && addresses(interface).next().is_some())
        .map(|interface| LeftOut {
            name: interface.name.clone(),
            index: interface.index,
            category: interface.category,
        })
        .collect()
}

/// The interfaces that are fit, whatever their networks are.
fn fit<'a>(
    interfaces: &'a [Interface],
    control: SocketAddr,
    policy: &'a Policy,
) -> impl Iterator<Item = &'a Interface> {
    let control = control.ip().to_canonical();
    let is_known = interface_of(interfaces, control).is_some();
    interfaces.iter().filter(move |interface| {
        let reaches_vm =
            interface.addresses.iter().any(|a| a.address == control) || is_wsl_adapter(interface);
        is_known && interface.up && !interface.loopback && !reaches_vm && !policy.excludes(&interface.name)
    })
}

fn addresses(interface: &Interface) -> impl Iterator<Item = IpAddr> {
    let is_fit = |address: IpAddr| address == address.to_canonical() && target::is_plain_unicast(address);
    let preferred = interface.addresses.iter().filter(|a| a.preferred);
    preferred
        .map(|a| a.address)
        .filter(move |address| is_fit(*address))
}
