//! Names in the distro's own hosts file, if the config says `hosts = true`: `windows.wsl`, and those of this distro's forwards.
//!
//! A forward's name leads to the VM's own address. There the service answers at its own port without the way through Windows,
//! also when it is bridged or Windows has no network. (On Windows the same name leads to Windows, see the companion.)
//!
//! The daemon may not write `/etc/hosts`, and does not get the right to: replacing a file takes the right to write its folder,
//! `/etc`. It looks whether the block is as it should be, which anybody may, and otherwise asks `wslnetd-hosts.socket`:
//!
//! ```text
//! picture ─ names ─▶ keeper ─ look ─▶ /etc/hosts
//!                       └──names──▶ helper (root, one question, then gone) ─ put ─▶ /etc/hosts
//! ```
//!
//! The helper takes nothing but names below `.wsl` with addresses. WSL makes the file anew at each start of the distro (unless
//! `generateHosts = false` in wsl.conf); so it is looked at again and again.

mod ask;
pub(crate) mod helper;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use wslnet_hosts::{HostName, Keeper, Names, Told};

use crate::network::{NetworkMode, NetworkView};
use crate::picture::{Asked, Picture};
use ask::Asker;

/// Where the file and the helper are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The hosts file.
    pub file: PathBuf,
    /// The helper's socket.
    pub socket: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            file: "/etc/hosts".into(),
            socket: "/run/wslnetd-hosts.sock".into(),
        }
    }
}

/// Keeps the distro's hosts file.
pub fn keep(places: Places) -> Keeper {
    Keeper::spawn(Asker::new(places))
}

/// The names that should be there.
pub fn names(picture: &Picture, network: &NetworkView) -> Names {
    let mut names = Names::default();
    let mut add = |name: HostName, address: IpAddr| {
        if let Err(error) = names.add(name.clone(), address) {
            tracing::debug!(%name, %error, "a name is left out of the hosts file");
        }
    };
    if let Some(windows) = windows(&picture.mode.mode, network) {
        add(HostName::windows(), windows);
    }
    // As the companion sees it, which is how its own names are made too.
    let vm = picture.companion.peer.or(picture.vm_address);
    for entry in &picture.entries {
        let name = match &entry.asked {
            Asked::Forward(wanted) => wanted.name.as_deref(),
            Asked::Nothing { .. } | Asked::Waits { .. } | Asked::OverLimit => None,
        };
        // The policy has taken no other names.
        if let (Some(Ok(name)), Some(vm)) = (name.map(HostName::of_forward), vm) {
            add(name, vm);
        }
    }
    names
}

/// The address of Windows.
fn windows(mode: &NetworkMode, network: &NetworkView) -> Option<IpAddr> {
    match mode {
        NetworkMode::Nat => network.default_gateway_v4.map(|(gateway, _)| gateway.into()),
        // There both share their loopback.
        NetworkMode::Mirrored | NetworkMode::VirtioProxy => Some(Ipv4Addr::LOCALHOST.into()),
        NetworkMode::Bridged | NetworkMode::None | NetworkMode::Wsl1 | NetworkMode::Unknown(_) => None,
    }
}

/// What to say of it in `status`.
pub fn summary(told: &Told) -> String {
    match &told.outcome {
        None => "not looked at yet".to_owned(),
        Some(Err(error)) => error.clone(),
        Some(Ok(taken)) => {
            let there = told.names.iter().filter(|(name, _)| !taken.contains(*name));
            let there = there.map(|(name, address)| format!("{name} {address}"));
            let left = taken
                .iter()
                .map(|name| format!("not {name}, which a line of somebody else's has"));
            match there.chain(left).collect::<Vec<_>>().join(", ") {
                text if text.is_empty() => "no names yet".to_owned(),
                text => text,
            }
        }
    }
}

#[cfg(test)]
mod tests;
