//! `wslnetd pair` and `unpair`: whose companion this distro trusts.
//!
//! [`stdin`] is the distro's half of a pairing, run by the companion through `wsl.exe`. Without it, [`interop`] finds the
//! companion's program on the drives of Windows and starts the other half from here; where that is not possible,
//! [`by_hand`] says what to type on Windows.

mod by_hand;
pub(crate) mod interop;
mod stdin;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use wslnet_console::output;

use self::interop::StartError;
use crate::config::{self, ConfigFiles};
use crate::labels::distro_name;
use crate::push::COMPANION;
use crate::run::Places;

/// What a user may say of a pairing.
#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    /// Take the companion's key from standard input and print this distro's; for wslnet-companion
    #[arg(long, conflicts_with = "companion")]
    stdin: bool,
    /// The companion's program on a drive of Windows [default: where it is installed]
    #[arg(long, value_name = "PATH")]
    companion: Option<PathBuf>,
}

/// Pairs.
pub(crate) fn run(places: &Places, args: PairArgs) -> anyhow::Result<ExitCode> {
    if args.stdin {
        return stdin::run(places);
    }
    let configured = ConfigFiles::new(places.config.clone(), places.config_named)
        .read()
        .and_then(config::parse)
        .ok()
        .and_then(|config| config.distro);
    let distro = distro_name(configured.as_deref());
    let started = match (&distro.name, args.companion.map_or_else(interop::find, Ok)) {
        (Some(name), Ok(program)) => interop::pair(&program, name),
        (None, _) => Err(StartError::Nameless(distro.source)),
        (_, Err(error)) => Err(error),
    };
    match started {
        Ok(code) => Ok(code),
        Err(error) => {
            output::print_to_stderr(&by_hand::text(distro.name.as_deref()));
            Err(error).context("Windows' half of the pairing was not started from here")
        }
    }
}

/// Forgets the companion's key.
pub(crate) fn unpair(places: &Places) -> anyhow::Result<()> {
    let key = wslnet_link::untrust(&places.state_dir, COMPANION).context("cannot withdraw the trust")?;
    Ok(output::print(&format!(
        "no longer trusted: {COMPANION} {}; on Windows, `wslnet-companion untrust NAME` forgets this distro\n",
        key.fingerprint()
    ))?)
}
