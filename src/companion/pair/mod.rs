//! `wslnet-companion pair`: the companion and a distro learn each other's public keys, over the pipes of `wsl.exe`.
//!
//! That `wsl.exe -u root` lets somebody in is the system's own word that the virtual machine is his. The order is such that
//! whoever dies at whichever step, pairing again starts from there: the companion's key is on the disk before it is
//! offered, the distro trusts it before it answers, and the companion trusts the distro last. [`distros`] says which distros are
//! meant, [`wsl`] runs a program in one, [`keeper`] keeps the keys on this side, [`session`] waits for the distro to connect.

mod distros;
mod keeper;
mod session;
mod system;
mod wsl;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use wslnet_console::output;
use wslnet_link::{Offer, PublicKey, Reply, pairing_fingerprint, read_reply};

use self::keeper::Keeper;
use self::session::{Outcome, Watch};
use self::wsl::{Wsl, shown};
use crate::paths::Paths;

/// What a user may say of a pairing.
#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    /// The distros, as `wsl --list` calls them
    #[arg(value_name = "DISTRO", required_unless_present = "all")]
    distros: Vec<String>,
    /// All distros of this Windows user that have wslnetd
    #[arg(long, conflicts_with = "distros")]
    all: bool,
    /// The program that runs commands in distros [default: Windows' own wsl.exe]
    #[arg(long, hide = true, value_name = "PROGRAM")]
    wsl: Option<PathBuf>,
}

/// Pairs with the distros, one after the other. What fails for one does not keep the others from it.
pub(crate) fn run(paths: &Paths, args: PairArgs) -> anyhow::Result<()> {
    let registered = system::registered().context("cannot read which distros there are")?;
    let distros = if args.all {
        distros::all(registered.as_deref())?
    } else {
        distros::named(registered.as_deref(), &args.distros)?
    };
    let wsl = Wsl::new(args.wsl.map_or_else(system::wsl_exe, Ok)?);
    let keeper = Keeper::new(&paths.state_dir);
    let companion = keeper.key()?;
    let mut failed = 0;
    for distro in &distros {
        let done = match pair(&wsl, &keeper, companion, distro, paths) {
            Err(error) if args.all && error.is::<NotInstalled>() => {
                output::print(&format!("{distro}: left out, as it has no wslnetd\n"))?;
                continue;
            }
            done => done,
        };
        if let Err(error) = done {
            let error = error.context(distro.clone());
            output::report_error("wslnet-companion", error.as_ref());
            failed += 1;
        }
    }
    match (failed, distros.len()) {
        (0, _) => Ok(()),
        (_, 1) => bail!("not paired and connected"),
        (failed, all) => bail!("{failed} of {all} distros are not paired and connected"),
    }
}

/// There is no daemon in the distro that could be asked.
#[derive(Debug, thiserror::Error)]
#[error("{} is not there: install wslnetd in the distro first", wsl::WSLNETD)]
struct NotInstalled;

fn pair(
    wsl: &Wsl,
    keeper: &Keeper<'_>,
    companion: PublicKey,
    distro: &str,
    paths: &Paths,
) -> anyhow::Result<()> {
    let key = exchange(wsl, distro, companion)?;
    // Before the trust: a session that is there now may be one of the distro's former key.
    let watch = Watch::start(paths, distro);
    let before = keeper.trust(distro, key)?;
    let replaced = before.is_some_and(|before| before != key);
    let note = if replaced {
        "; its former key is no longer trusted"
    } else {
        ""
    };
    output::print(&format!(
        "{distro}: paired, fingerprint {}{note}\n",
        pairing_fingerprint(&companion, &key)
    ))?;
    match watch?.wait(replaced)? {
        Outcome::Connected => Ok(output::print(&format!("{distro}: paired and connected\n"))?),
        Outcome::NotRunning => Ok(output::print(&format!(
            "{distro}: wslnet-companion is not running here; the distro connects as soon as it runs\n"
        ))?),
        Outcome::NotServing(reason) => bail!("paired, but not connected: {reason}"),
        Outcome::Silence => bail!("paired, but not connected: {}", wsl.why_not_connected(distro)),
    }
}

/// Tells the distro the companion's key, and learns the distro's.
fn exchange(wsl: &Wsl, distro: &str, companion: PublicKey) -> anyhow::Result<PublicKey> {
    let said = wsl.run(distro, &["pair", "--stdin"], Some(&Offer::new(companion)))?;
    let reply = read_reply(said.stdout.as_slice());
    match reply {
        Ok(Reply::Paired { distro: key }) => {
            for line in shown(&said.stderr) {
                output::print_to_stderr(&format!("{distro}: {line}\n"));
            }
            Ok(key)
        }
        Ok(Reply::Refused { reason }) => bail!("{}", shown(reason.as_bytes()).join(" ")),
        Err(_) if said.program_is_missing() => bail!(NotInstalled),
        Err(error) => Err(error).with_context(|| said.complaint()),
    }
}
