//! The keys that the service trusts, which only an administrator may change.

use anyhow::{Context, bail};
use wslnet_console::output;

use super::{Order, elevate, elevated, folder, privileged, program, service};
use crate::install::TrustChange;
use crate::pair::{trust, untrust};
use crate::service::NAME;

/// The verb by which this program is started for a change of trust, as the command line has it.
const VERB: &str = "change-trust";

impl TrustChange {
    /// As arguments. Names and keys have no spaces or quotes, as [`NamedKey`](crate::pair::NamedKey) warrants; other names do not
    /// come so far.
    pub(super) fn arguments(&self) -> Vec<String> {
        let trust = self.trust.iter().map(|key| format!("--trust={key}"));
        let untrust = self.untrust.iter().map(|name| format!("--untrust={name}"));
        trust.chain(untrust).collect()
    }
}

/// Changes which keys the service trusts, by the installed program, which only administrators can exchange.
pub(crate) fn change_trust(change: &TrustChange, answer_to: Option<&str>) -> anyhow::Result<()> {
    if let Some(pipe) = answer_to {
        return elevate::answer(pipe, |told| privileged(told, |order| order.change(change)));
    }
    let arguments = [vec![VERB.to_owned()], change.arguments()].concat();
    let mut told = String::new();
    let done = elevated(&program::path()?, &arguments, &mut told, |order| {
        order.change(change)
    });
    output::print(&told)?;
    done
}

impl Order {
    /// Makes the changes in the service's folder, and tells of each.
    fn change(&mut self, change: &TrustChange) -> anyhow::Result<()> {
        if !service::is_installed() {
            bail!("the service {NAME} is not installed");
        }
        folder::check(&self.paths.state_dir)?;
        for name in &change.untrust {
            let line = untrust(&self.paths.state_dir, name).context("cannot withdraw the trust")?;
            self.tell(line);
        }
        for key in &change.trust {
            let line = trust(&self.paths.state_dir, key).context("cannot trust the key")?;
            self.tell(line);
        }
        Ok(())
    }
}

/// A key that cannot be trusted is no reason to go without the service: who pairs then hears of it.
pub(super) fn put(order: &mut Order) {
    for key in std::mem::take(&mut order.trust) {
        if let Err(error) = trust(&order.paths.state_dir, &key) {
            let error = wslnet_console::output::chain(&error);
            order.tell(format!("note: the key of {} is not trusted: {error}", key.name));
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn a_change_stands_on_the_command_line_as_whoever_is_asked_sees_it() {
        let key = "19".repeat(32);
        let change = TrustChange {
            trust: vec![format!("Ubuntu={key}").parse().unwrap()],
            untrust: vec!["Debian".to_owned()],
        };

        // The same line is run by the end-to-end test of the service.
        assert_eq!(VERB, "change-trust");
        assert_eq!(
            change.arguments(),
            [format!("--trust=Ubuntu={key}"), "--untrust=Debian".to_owned()]
        );
    }
}
