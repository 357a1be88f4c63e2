//! What `status` and `list` show, made from what the loop knows.

use std::net::SocketAddr;

use wslnet_protocol::ForwardState;
use wslnet_relay::Counters;

use super::report::{DistroReport, ForwardReport, StatusReport};
use super::work::Work;
use crate::ledger::Key;
use crate::plan;

impl Work {
    pub(super) fn status(&self) -> StatusReport {
        let states = self.told.values().flat_map(|told| &told.forwards);
        let active = states
            .clone()
            .filter(|forward| forward.state == ForwardState::Active)
            .count();
        StatusReport {
            version: crate::VERSION.to_owned(),
            control: self.parts.control,
            backend: "relay".to_owned(),
            reach: self.parts.config.policy.reach,
            addresses: plan::lan_addresses(&self.interfaces, self.parts.control, &self.parts.config.policy),
            trusted: self.parts.trust.count(),
            distros: self
                .ledger
                .sessions()
                .map(|session| DistroReport {
                    distro: session.distro.to_owned(),
                    peer: session.peer,
                    connected: session.connected,
                    daemon: session.daemon.to_owned(),
                    generation: session.generation,
                })
                .collect(),
            active,
            inactive: states.count() - active,
            config_error: self.config_error.clone().or_else(|| self.trust_error.clone()),
        }
    }

    pub(super) fn list(&self) -> Vec<ForwardReport> {
        let claims = self.ledger.claims();
        let mut rows = Vec::new();
        for (distro, claims) in &claims.distros {
            let Some(told) = self.told.get(*distro) else {
                continue;
            };
            for (forward, status) in claims.granted.iter().chain(claims.over_limit).zip(&told.forwards) {
                let key = Key::of(forward);
                let applied = self.relays.actual().relays.get(&key);
                let ours =
                    applied.is_some_and(|applied| applied.distro == *distro && applied.id == forward.id);
                let counters = self.relays.counters(&key).filter(|_| ours).unwrap_or_default();
                rows.push(ForwardReport {
                    distro: (*distro).to_owned(),
                    protocol: forward.protocol,
                    port: forward.listen_port,
                    listen: status.listen.clone(),
                    target: SocketAddr::new(claims.peer, forward.port),
                    state: status.state,
                    reason: with_counters(&status.reason, &counters),
                    reach: forward.reach,
                    name: forward.name.clone(),
                    labels: forward.labels.clone(),
                    connections: counters.connections,
                    refused: counters.refused(),
                    dial_failures: counters.dial_failures,
                    bytes_in: counters.bytes_in,
                    bytes_out: counters.bytes_out,
                });
            }
        }
        rows.sort_by(|a, b| (a.port, &a.distro).cmp(&(b.port, &b.distro)));
        rows
    }
}

/// A forward's reason, and what happened to its clients that nobody else is told.
fn with_counters(reason: &str, counters: &Counters) -> String {
    let mut parts = Vec::new();
    if !reason.is_empty() {
        parts.push(reason.to_owned());
    }
    for (count, what) in [
        (
            counters.refused_clients,
            "from outside Windows' networks refused (`clients = \"any\"` in companion.toml admits them)",
        ),
        (counters.refused_by_limit, "refused at the limit of connections"),
        (
            counters.dial_failures,
            "not connected, as the service did not answer",
        ),
    ] {
        if count > 0 {
            parts.push(format!("clients {what}: {count}"));
        }
    }
    parts.join("; ")
}
