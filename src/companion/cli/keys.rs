//! The verbs about keys. Those of the service are told by the service itself, and changed by an administrator.

use anyhow::{Context, ensure};
use wslnet_console::output;
use wslnet_link::{Peers, PublicKey, is_peer_name};

use crate::bulletin::{self, Bulletin};
use crate::install::{self, TrustChange};
use crate::pair::{self, NamedKey};
use crate::paths::Paths;

/// What the service tells, where it is the service that is meant; else, and for administrators also where it tells nothing, what is
/// in the folder.
fn look<T>(
    paths: &Paths,
    told: impl FnOnce(Bulletin) -> T,
    in_folder: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if !install::is_service(paths) {
        return in_folder();
    }
    match bulletin::read_now() {
        Ok(bulletin) => Ok(told(bulletin)),
        Err(error) => in_folder().with_context(|| output::chain(&error)),
    }
}

/// Prints the own key.
pub(super) fn key(paths: &Paths) -> anyhow::Result<()> {
    let in_folder = || {
        let is_new = !paths.state_dir.join(wslnet_link::KEY_FILE).exists();
        let key = wslnet_link::load_or_create(&paths.state_dir).context("cannot use the key")?;
        if is_new {
            output::print_to_stderr(
                "a new key was made; the other side learns it by `wslnet-companion pair DISTRO`, or `wslnetd trust KEY` in each distro\n",
            );
        }
        Ok(key.public())
    };
    let key = look(paths, |bulletin| bulletin.key, in_folder)?;
    Ok(output::print(&format!("{key}\n"))?)
}

/// Trusts a key.
pub(super) fn trust(paths: &Paths, name: String, key: PublicKey) -> anyhow::Result<()> {
    let named = NamedKey::new(name, key).context("cannot trust the key")?;
    if install::is_service(paths) {
        let change = TrustChange {
            trust: vec![named],
            untrust: Vec::new(),
        };
        return install::change_trust(&change, None);
    }
    let line = pair::trust(&paths.state_dir, &named).context("cannot trust the key")?;
    Ok(output::print(&format!("{line}\n"))?)
}

/// Prints the trusted keys.
pub(super) fn trusted(paths: &Paths) -> anyhow::Result<()> {
    let line = |(name, key): (&String, &PublicKey)| format!("{name} {key}\n");
    let in_folder = || {
        let peers = Peers::load(&paths.state_dir).context("cannot read the trusted keys")?;
        Ok(peers.iter().map(line).collect())
    };
    let told = |bulletin: Bulletin| bulletin.trusted.iter().map(line).collect::<String>();
    Ok(output::print(&look(paths, told, in_folder)?)?)
}

/// Trusts a key no longer.
pub(super) fn untrust(paths: &Paths, name: String) -> anyhow::Result<()> {
    if install::is_service(paths) {
        ensure!(
            is_peer_name(&name),
            "cannot withdraw the trust: no key can have that name"
        );
        let change = TrustChange {
            trust: Vec::new(),
            untrust: vec![name],
        };
        return install::change_trust(&change, None);
    }
    let line = pair::untrust(&paths.state_dir, &name).context("cannot withdraw the trust")?;
    Ok(output::print(&format!("{line}\n"))?)
}
