//! The distro's half: an offer comes in, the key in it is trusted, a reply goes out. Whoever can run this as root may do so anyway.

use std::io::{self, BufReader};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use wslnet_console::output::{self, Exit};
use wslnet_link::{Offer, PublicKey, Reply, pairing_fingerprint, read_offer, write_line};

use crate::push::COMPANION;
use crate::run::Places;

/// How long the offer may take; a pipe that nobody writes to must not keep a process of root for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers one offer. What goes wrong is in the reply, and the exit code says that something did.
pub(super) fn run(places: &Places) -> anyhow::Result<ExitCode> {
    let (reply, code) = match offer().and_then(|offer| accept(places, &offer)) {
        Ok(distro) => (Reply::Paired { distro }, Exit::Ok),
        Err(error) => {
            let reason = output::chain(error.as_ref());
            (Reply::Refused { reason }, Exit::Failure)
        }
    };
    write_line(io::stdout().lock(), &reply).context("cannot answer")?;
    Ok(code.into())
}

/// The offer, by a thread that ends with the process.
fn offer() -> anyhow::Result<Offer> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("offer".to_owned())
        .spawn(move || {
            // Nobody waits any more when time was up.
            sender
                .send(read_offer(BufReader::new(io::stdin())))
                .unwrap_or_default();
        })
        .context("cannot start a thread")?;
    match receiver.recv_timeout(PATIENCE) {
        Ok(offer) => offer.context("no offer of a companion came by standard input"),
        Err(_) => bail!("no offer of a companion came by standard input within {PATIENCE:?}"),
    }
}

/// Trusts the companion. The distro's key is on the disk before; the running daemon notices the new trust within a second.
fn accept(places: &Places, offer: &Offer) -> anyhow::Result<PublicKey> {
    let key = wslnet_link::load_or_create(&places.state_dir).context("cannot use the distro's key")?;
    let before = wslnet_link::trust(&places.state_dir, COMPANION, offer.companion)
        .context("cannot trust the companion's key")?;
    let note = match before {
        Some(before) if before != offer.companion => "; the former companion is no longer trusted",
        _ => "",
    };
    let fingerprint = pairing_fingerprint(&offer.companion, &key.public());
    output::print_to_stderr(&format!("wslnetd: paired, fingerprint {fingerprint}{note}\n"));
    Ok(key.public())
}
