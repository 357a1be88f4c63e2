//! What the loop looks at by itself: the network interfaces and their networks, the trusted keys, companion.toml.

use std::time::Duration;

use wslnet_console::output;

use super::work::{Work, terms};
use crate::control_address::ControlPorts;
use crate::host;

/// How often the control port is tried where it could not listen.
const TRY_CONTROL: Duration = Duration::from_secs(1);

impl Work {
    /// Reads the interfaces again; says whether they changed.
    pub(super) fn look_around(&mut self) -> bool {
        match host::interfaces() {
            Ok(mut interfaces) => {
                self.networks.networks().apply(&mut interfaces);
                if interfaces == self.interfaces {
                    return false;
                }
                self.networks.hint();
                self.gate.look(&interfaces, self.parts.config.policy.clients);
                self.interfaces = interfaces;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the network interfaces cannot be read; the last known ones stay");
                false
            }
        }
    }

    /// Whether the machine has slept, and woken up just now. Then the addresses are read at once. A laptop may
    /// wake up in another network, and connections that came in by an address that is gone end with it. Leases go on where they
    /// stood: their clock has slept, too.
    pub(super) fn look_after_sleep(&mut self) -> bool {
        let Some(slept) = self.sleep.slept() else {
            return false;
        };
        tracing::info!(
            ?slept,
            "the machine has slept: addresses and ports are looked at again"
        );
        self.look_around();
        true
    }

    /// Whether the control port is to be opened anew: it belongs elsewhere, or can listen where it could not. For the latter nobody's
    /// session is ended, so that a program which takes and leaves that port does no harm.
    pub(super) fn control_belongs_elsewhere(&mut self) -> bool {
        let parts = &self.parts;
        let given_up = parts.given_up.as_ref().map(|(given_up, _)| *given_up);
        let addresses = given_up.unwrap_or_default();
        if parts
            .place
            .is_elsewhere(&parts.control, &addresses, &parts.config, &self.interfaces)
        {
            return true;
        }
        let now = host::awake();
        let is_due = now.saturating_since(self.tried_control) >= TRY_CONTROL;
        if !is_due || given_up.is_none() || self.ledger.sessions().next().is_some() {
            return false;
        }
        self.tried_control = now;
        can_be_had(&addresses)
    }

    /// Reads the trusted keys again; says whether a distro lost its trust.
    pub(super) fn look_at_trust(&mut self) -> bool {
        match self.parts.trust.refresh() {
            Ok(gone) => {
                self.trust_error = None;
                for distro in &gone {
                    tracing::info!(distro, "its key is no longer trusted: its forwards are withdrawn");
                    self.ledger.forget(distro);
                    self.places.forget(distro);
                    self.parts.connections.close_distro(distro);
                }
                !gone.is_empty()
            }
            Err(error) => {
                note(&mut self.trust_error, output::chain(&error));
                false
            }
        }
    }

    /// Reads the configuration again if its file changed; says whether it is another one.
    pub(super) fn look_at_config(&mut self) -> bool {
        match self.parts.config_file.changed() {
            None => false,
            Some(Ok(config)) => {
                tracing::info!("companion.toml was read again");
                self.config_error = None;
                self.ledger.set_terms(terms(&config));
                self.gate.look(&self.interfaces, config.policy.clients);
                self.parts.config = config;
                true
            }
            Some(Err(report)) => {
                note(&mut self.config_error, report);
                false
            }
        }
    }
}

/// Whether a port that could not be had can be had now.
fn can_be_had(ports: &ControlPorts) -> bool {
    ports
        .addresses()
        .any(|address| host::bind_control(address).is_ok())
}

/// Keeps an error for `status` and logs it once.
fn note(place: &mut Option<String>, error: String) {
    if place.as_ref() != Some(&error) {
        tracing::warn!(error, "a changed file was not taken over");
        *place = Some(error);
    }
}
