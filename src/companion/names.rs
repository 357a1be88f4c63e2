//! Names of forwards: `shop.wsl` in Windows' hosts file, for as long as the forward `shop` is active.
//!
//! **Where a name leads.** To an address at which Windows listens for the forward, because only there are the ports those that
//! `list` shows: loopback if it is among them, which no change of the network takes away; then the lowest IPv4 address, then IPv6.
//! Not to `127.0.0.1` otherwise: there WSL itself forwards, for TCP, for listeners on all addresses, at the port inside the VM, if that was
//! free, and if nobody switched it off; a dual-stack listener at `::1` only. A forward for which Windows does not listen, as
//! it reaches the VM by itself, leads to the VM: to the session's peer, the address that the companion would dial.
//!
//! **Whose a name is.** That of the first forward that claims it and is active; other forwards of the same distro share it if it
//! leads to the same place. What the file has of others stays theirs ([`wslnet_hosts::block`]).
//!
//! **Rights.** The file is written if that is possible, and nothing is done to make it possible: an ordinary user's companion
//! has no names, and says so.
//!
//! [`plan`] is pure; [`Naming`] keeps the file and says what came of it.

mod place;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wslnet_hosts::{HostName, HostsFile, Keeper, NameError, Names, Told};
use wslnet_protocol::{ForwardId, ForwardState, ForwardStatus};

use crate::host;
use crate::ledger::{Claim, Claims};
use place::Writer;

/// How long the end of the program may wait for the file to be cleared.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// Why there is no file to write.
const NO_FILE: &str = "no hosts file is kept on this system";

/// The states of each distro's forwards, in the order of its set.
pub type States = BTreeMap<String, Vec<ForwardStatus>>;

/// Which names there should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The names, and where they lead.
    pub names: Names,
    /// For each active forward that has a name: that, as it would be in the file, and where it leads, or why it is not to be there.
    pub forwards: BTreeMap<(String, ForwardId), (String, Result<HostName, String>)>,
}

/// Decides which names there should be. `own_name` is the machine's.
pub fn plan(claims: &Claims<'_>, states: &States, own_name: Option<&str>) -> Plan {
    if !claims
        .ports
        .values()
        .flatten()
        .any(|claim| claim.forward.name.is_some())
    {
        return Plan::default();
    }
    let active: BTreeMap<(&str, ForwardId), &ForwardStatus> = states
        .iter()
        .flat_map(|(distro, forwards)| {
            forwards
                .iter()
                .map(move |status| ((distro.as_str(), status.id), status))
        })
        .filter(|(_, status)| status.state == ForwardState::Active)
        .collect();
    let mut named: Vec<(&Claim<'_>, &str, IpAddr)> = claims
        .ports
        .values()
        .flatten()
        .filter_map(|claim| {
            let label = claim.forward.name.as_deref()?;
            let status = active.get(&(claim.distro, claim.forward.id))?;
            let peer = claims.distros.get(claim.distro)?.peer;
            Some((claim, label, leads_to(status, peer)))
        })
        .collect();
    named.sort_by_key(|(claim, ..)| claim.rank());

    let mut plan = Plan::default();
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (claim, label, address) in named {
        let result = HostName::of_forward(label)
            .map_err(|why| format!("as a name {why}"))
            .and_then(|name| {
                if own_name == Some(label) {
                    return Err("it is this machine's own name: choose another one".to_owned());
                }
                match (owners.get(label).copied(), plan.names.get(&name)) {
                    (Some(owner), _) if owner != claim.distro => {
                        return Err(format!(
                            "distro `{owner}` has it: give one of the two another name"
                        ));
                    }
                    (Some(_), Some(taken)) if taken != address => {
                        return Err(format!(
                            "another forward of the distro has it at {taken}, and this one is at {address}"
                        ));
                    }
                    (Some(_) | None, _) => {}
                }
                plan.names
                    .add(name.clone(), address)
                    .map_err(|error| refusal(&error))?;
                owners.insert(label, claim.distro);
                Ok(name)
            });
        plan.forwards.insert(
            (claim.distro.to_owned(), claim.forward.id),
            (format!("{label}.wsl"), result),
        );
    }
    plan
}

fn leads_to(status: &ForwardStatus, peer: IpAddr) -> IpAddr {
    let listens = status.listen.iter().map(|place| place.ip());
    listens
        .min_by_key(|ip| (!ip.is_loopback(), ip.is_ipv6(), *ip))
        .unwrap_or(peer)
}

fn refusal(error: &NameError) -> String {
    match error {
        NameError::Full => format!("{error}: take `name` from another rule"),
        NameError::Address(_) | NameError::Name => error.to_string(),
    }
}

/// Keeps the names in the hosts file.
#[derive(Debug)]
pub struct Naming {
    file: Option<(PathBuf, Keeper)>,
    own_name: Option<String>,
}

impl Naming {
    /// Takes what a former run left behind out of the file. Tries whether it could write, unless names are off.
    pub fn start(file: Option<PathBuf>, on: bool) -> Self {
        Self {
            file: file.map(|path| (path.clone(), Keeper::spawn(Writer::new(path, on)))),
            own_name: host::own_name(),
        }
    }

    /// Wants the names that these states come with, and adds to the reasons what is known of each.
    pub fn name(&self, states: &mut States, claims: &Claims<'_>, on: bool) {
        let plan = plan(claims, states, self.own_name.as_deref());
        let told = match &self.file {
            Some((_, keeper)) => {
                keeper.want(if on { plan.names.clone() } else { Names::default() });
                keeper.told()
            }
            None => Told {
                names: plan.names.clone(),
                outcome: Some(Err(NO_FILE.to_owned())),
            },
        };
        if plan.forwards.is_empty() {
            return;
        }
        for (distro, forwards) in states {
            for status in forwards {
                if let Some((name, result)) = plan.forwards.get(&(distro.clone(), status.id)) {
                    let note = note(name, result, &plan.names, &told, on);
                    status.reason = [Some(status.reason.clone()), note]
                        .into_iter()
                        .flatten()
                        .filter(|part| !part.is_empty())
                        .collect::<Vec<_>>()
                        .join("; ");
                }
            }
        }
    }

    /// Names as a whole, for `status`.
    pub fn summary(&self, on: bool) -> String {
        let Some((path, keeper)) = &self.file else {
            return format!("off: {NO_FILE}");
        };
        let told = keeper.told();
        match told.outcome {
            _ if !on => "off: `names = false` in companion.toml".to_owned(),
            None => "not looked at yet".to_owned(),
            Some(Err(error)) => format!("off: {error}"),
            Some(Ok(taken)) => format!("{} in {}", told.names.len() - taken.len(), path.display()),
        }
    }

    /// Returns when something came of the names that were wanted; may be given up and called again.
    pub async fn changed(&mut self) {
        match &mut self.file {
            Some((_, keeper)) => keeper.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Wants no names any more.
    pub fn withdraw(&self) {
        if let Some((_, keeper)) = &self.file {
            keeper.want(Names::default());
        }
    }

    /// Takes the names out of the file, if that takes not too long.
    pub async fn close(self) {
        if let Some((_, mut keeper)) = self.file {
            keeper.close(CLOSE_TIME).await;
        }
    }
}

/// What is to be said of a forward's name; nothing while it is not known.
fn note(
    name: &str,
    result: &Result<HostName, String>,
    names: &Names,
    told: &Told,
    on: bool,
) -> Option<String> {
    let without = |why: &str| Some(format!("no name {name}: {why}"));
    if !on {
        return without("`names = false` in companion.toml");
    }
    let wanted = match result {
        Ok(wanted) => wanted,
        Err(why) => return without(why),
    };
    match &told.outcome {
        Some(Err(error)) => without(error),
        Some(Ok(_)) if told.names.get(wanted) != names.get(wanted) => None,
        Some(Ok(taken)) if taken.contains(wanted) => without(
            "the hosts file has it in a line that is not wslnet's: remove that, or choose another name",
        ),
        Some(Ok(_)) => Some(format!("name {name}")),
        None => None,
    }
}

/// Takes all names out of a hosts file, for an uninstaller; a companion that still runs would put them back. Says whether there
/// were any.
///
/// # Errors
/// Why they stay.
pub fn remove(file: &Path) -> Result<bool, String> {
    let removed = HostsFile::new(file.to_owned()).put(&Names::default());
    removed
        .map(|written| written.changed)
        .map_err(|error| place::advise(&error))
}

#[cfg(test)]
mod tests;
