//! The firewall rules for the program, made here because nobody may make them at run time without an administrator's rights.

use anyhow::Context;
use wslnet_console::diagnose::ConfigFile;

use super::{Installable, Order, program, purge_service, users};
use crate::config::{Config, WatchedConfig};
use crate::firewall::{self, Installation, Store, StoreError};
use crate::paths::Paths;
use crate::purge::Extent;

/// Makes the rules, for the networks that companion.toml names now. A firewall that keeps none is told of: everything else of
/// the installation is of use all the same.
pub(super) fn put(form: Installable, order: &mut Order) -> anyhow::Result<()> {
    let program = program::path()?;
    let config = configured(form, order);
    let installation = Installation {
        program: &program,
        control_port: config
            .listen
            .map_or(wslnet_protocol::DEFAULT_PORT, |listen| listen.port()),
        networks: config.policy.networks,
    };
    match firewall::install(&Store::new(&order.paths.state_dir), installation) {
        Ok(()) => Ok(()),
        Err(error @ StoreError::NotKept(_)) => {
            order.tell(format!("note: {error}"));
            Ok(())
        }
        Err(error) => Err(error).context("cannot make the firewall rules for the program"),
    }
}

/// Removes them, with whatever else of ours is left in Windows. Those for the program stay as long as that does.
pub(super) fn take(order: &mut Order) -> anyhow::Result<()> {
    let extent = match users::left_for_others(order.user.as_ref())? {
        Some(_) => Extent::Run,
        None => Extent::Installation,
    };
    purge_service(order, extent)
}

/// The configuration of the form; the default where it cannot be read, as for a user whom an administrator with another account
/// helps.
fn configured(form: Installable, order: &mut Order) -> Config {
    let paths = match form {
        Installable::Service => Ok(order.paths.clone()),
        Installable::Logon => Paths::standard(),
    };
    let Ok(paths) = paths else {
        return Config::default();
    };
    let loaded = WatchedConfig::new(ConfigFile::new(paths.config, false)).load();
    loaded.unwrap_or_else(|report| {
        order.tell(format!(
            "note: {}; the firewall rules are those of the default",
            report.summary()
        ));
        Config::default()
    })
}
