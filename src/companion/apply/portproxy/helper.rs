//! IP Helper: it is told of changes, and whether it listens for what stands in the registry is looked up, because it tells
//! nobody when it does not.

use std::net::SocketAddr;
use std::time::Duration;

use super::round::Round;
use super::system::Service;
use super::{Deaf, Done, Portproxy, reasons};
use crate::host::{self, Awake, PortHolder};

/// How long a round waits for IP Helper to listen, and how often it looks.
const PATIENCE: Duration = Duration::from_millis(200);
const GLANCE: Duration = Duration::from_millis(10);
/// How long IP Helper may take to listen before it is told again. The time doubles with each telling, up to the most.
const DEAF: Duration = Duration::from_secs(2);
const DEAFEST: Duration = Duration::from_secs(64);

impl Portproxy {
    /// Tells IP Helper that its entries have changed: once, whatever their number.
    pub(super) fn tell_helper(&mut self, service: &Result<Service, String>, changed: bool) {
        let owed = self.owes_reload;
        match service {
            Ok(Service::Running(_)) if changed || self.owes_reload => match self.machine.reload() {
                Ok(()) => {
                    self.owes_reload = false;
                    self.told.clear();
                }
                Err(error) => {
                    self.owes_reload = true;
                    self.tell_once(&reasons::not_told(&error));
                }
            },
            Ok(Service::Running(_)) => {}
            // It reads its entries when it starts.
            Ok(Service::Stopped | Service::Disabled | Service::Missing) => self.owes_reload = false,
            Err(_) => self.owes_reload |= changed,
        }
        if self.owes_reload {
            if let Err(error) = self.untold.set() {
                tracing::warn!(%error, "should this program end now, the next run does not know that IP Helper is to be told of changed entries");
            }
        } else if owed {
            self.untold.clear();
        }
    }

    /// Looks whether IP Helper listens for what stands, and remembers since when not.
    pub(super) fn hear(&mut self, done: &mut Done, round: &Round, listeners: &[PortHolder], now: Awake) {
        self.deaf.retain(|listen, _| round.stand.contains(listen));
        for listen in round.stand.intersection(&done.standing.clone()) {
            if self.machine.is_served(*listen, listeners) {
                self.deaf.remove(listen);
                continue;
            }
            let deaf = self.deaf.entry(*listen).or_insert(Deaf {
                told: now,
                wait: DEAF,
            });
            let is_long = deaf.wait > DEAF || now.saturating_since(deaf.told) >= deaf.wait;
            if now.saturating_since(deaf.told) >= deaf.wait {
                self.owes_reload = true;
                *deaf = Deaf {
                    told: now,
                    wait: (deaf.wait * 2).min(DEAFEST),
                };
            }
            done.standing.remove(listen);
            let failure = if is_long {
                reasons::deaf(*listen, self.machine.is_ipv6_off())
            } else {
                reasons::not_heard(*listen)
            };
            done.failed.insert(*listen, failure);
        }
    }

    /// Waits a moment for IP Helper to listen for what has just been added, so that the answer to the distro is the right one.
    pub(super) async fn wait_for_helper(&mut self) {
        let unheard = |this: &Self, listeners: &[PortHolder]| -> Vec<SocketAddr> {
            let listening = this.actual.relays.values().flat_map(|a| &a.listening);
            listening
                .filter(|listen| !this.machine.is_served(**listen, listeners))
                .copied()
                .collect()
        };
        let mut waited = Duration::ZERO;
        loop {
            let silent = match host::listeners() {
                Ok(listeners) => unheard(self, &listeners),
                Err(_) => return,
            };
            if silent.is_empty() {
                return;
            }
            if waited >= PATIENCE {
                for applied in self.actual.relays.values_mut() {
                    for listen in silent.iter().filter(|listen| applied.listening.remove(listen)) {
                        applied.failed.insert(*listen, reasons::not_heard(*listen));
                    }
                }
                return;
            }
            tokio::time::sleep(GLANCE).await;
            waited += GLANCE;
        }
    }
}
