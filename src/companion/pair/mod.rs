//! `wslnet-companion pair`: the companion and a distro learn each other's public keys, over the pipes of `wsl.exe`.
//!
//! That `wsl.exe -u root` lets somebody in is the system's own word that the virtual machine is his. The order is such that
//! whoever dies at whichever step, pairing again starts from there: the companion's key is on the disk before it is
//! offered, the distro trusts it before it answers, and the companion trusts the distro last. Where a step takes an
//! administrator, it is one step for all distros, between the one and the other. [`distros`] says which distros are
//! meant, [`wsl`] runs a program in one, [`keeper`] keeps the keys on this side, [`session`] waits for the distro to connect.

mod distros;
mod keeper;
mod named_key;
mod session;
mod system;
mod wsl;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use wslnet_console::output;
use wslnet_link::{Offer, PublicKey, Reply, pairing_fingerprint, read_reply};

use self::keeper::Keeper;
pub(crate) use self::named_key::{NamedKey, trust, untrust};
use self::session::{Outcome, Watch};
use self::wsl::{Wsl, shown};
use crate::paths::Paths;

/// What a user may say of a pairing.
#[derive(Clone, Debug, Args)]
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

impl PairArgs {
    /// Distros by name.
    pub(crate) fn named(distros: Vec<String>, wsl: Option<PathBuf>) -> Self {
        Self {
            distros,
            all: false,
            wsl,
        }
    }

    /// The distros that are meant, and the program that runs commands in them.
    fn resolve(self) -> anyhow::Result<(Vec<String>, Wsl)> {
        let registered = system::registered().context("cannot read which distros there are")?;
        let distros = if self.all {
            distros::all(registered.as_deref())?
        } else {
            distros::named(registered.as_deref(), &self.distros)?
        };
        Ok((distros, Wsl::new(self.wsl.map_or_else(system::wsl_exe, Ok)?)))
    }
}

/// The keys of distros, for an installation that is to trust them from the beginning. What a distro does not tell now, a
/// pairing will complain of.
///
/// # Errors
/// When it is not clear which distros are meant.
pub(crate) fn keys(args: PairArgs) -> anyhow::Result<Vec<NamedKey>> {
    let (distros, wsl) = args.resolve()?;
    let key = |distro: String| {
        let said = wsl.run(&distro, &["key"], None).ok()?;
        let key = String::from_utf8(said.stdout).ok()?.parse().ok()?;
        NamedKey::new(distro, key).ok()
    };
    Ok(distros.into_iter().filter_map(key).collect())
}

/// Everything went well but for the last step.
#[derive(Debug, thiserror::Error)]
#[error("paired, but not connected{0}")]
pub(crate) struct NotConnected(String);

/// Pairs with the distros. What fails for one does not keep the others from it.
///
/// # Errors
/// [`NotConnected`] if that is all that failed.
pub(crate) fn run(paths: &Paths, args: PairArgs) -> anyhow::Result<()> {
    let all = args.all;
    let (distros, wsl) = args.resolve()?;
    let keeper = Keeper::open(paths)?;
    let companion = keeper.key()?;
    let mut failures = Failures::default();
    let mut ready = Vec::new();
    for distro in &distros {
        match exchange(&wsl, distro, companion) {
            Ok(key) => ready.push(NamedKey {
                name: distro.clone(),
                key,
            }),
            Err(error) if all && error.is::<NotInstalled>() => {
                output::print(&format!("{distro}: left out, as it has no wslnetd\n"))?;
            }
            Err(error) => failures.tell(distro, error),
        }
    }
    // Before the trust: a session that is there now may be one of a distro's former key.
    let watch = Watch::start(paths);
    let mut trusted = Vec::new();
    for (named, done) in ready.iter().zip(keeper.trust(&ready)) {
        match done {
            Ok(before) => {
                let replaced = before.is_some_and(|before| before != named.key);
                let note = if replaced {
                    "; its former key is no longer trusted"
                } else {
                    ""
                };
                let NamedKey { name, key } = named;
                let fingerprint = pairing_fingerprint(&companion, key);
                output::print(&format!("{name}: paired, fingerprint {fingerprint}{note}\n"))?;
                trusted.push((name, replaced));
            }
            Err(error) => failures.tell(&named.name, error),
        }
    }
    if !trusted.is_empty() {
        let watch = watch?;
        for (distro, replaced) in trusted {
            if let Err(error) = connected(&watch, &wsl, distro, replaced) {
                failures.tell(distro, error);
            }
        }
    }
    failures.end(distros.len())
}

/// What failed so far.
#[derive(Debug, Default)]
struct Failures {
    count: usize,
    /// How many of them are paired, and not connected.
    unconnected: usize,
}

impl Failures {
    fn tell(&mut self, distro: &str, error: anyhow::Error) {
        self.count += 1;
        self.unconnected += usize::from(error.is::<NotConnected>());
        let error = error.context(distro.to_owned());
        output::report_error("wslnet-companion", error.as_ref());
    }

    fn end(self, all: usize) -> anyhow::Result<()> {
        match (self.count, all) {
            (0, _) => Ok(()),
            (count, _) if count == self.unconnected => Err(NotConnected(String::new()).into()),
            (_, 1) => bail!("not paired and connected"),
            (count, all) => bail!("{count} of {all} distros are not paired and connected"),
        }
    }
}

/// There is no daemon in the distro that could be asked.
#[derive(Debug, thiserror::Error)]
#[error("{} is not there: install wslnetd in the distro first", wsl::WSLNETD)]
struct NotInstalled;

/// Waits until a distro that is trusted is connected.
fn connected(watch: &Watch, wsl: &Wsl, distro: &str, replaced: bool) -> anyhow::Result<()> {
    let reason = match watch.wait(distro, replaced)? {
        Outcome::Connected => return Ok(output::print(&format!("{distro}: paired and connected\n"))?),
        Outcome::NotRunning => {
            return Ok(output::print(&format!(
                "{distro}: wslnet-companion is not running here; the distro connects as soon as it runs\n"
            ))?);
        }
        Outcome::NotServing(reason) => reason,
        Outcome::Silence => wsl.why_not_connected(distro),
    };
    bail!(NotConnected(format!(": {reason}")))
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
