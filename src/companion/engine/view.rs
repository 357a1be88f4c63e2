//! What `status` and `list` show, made from what the loop knows.

use std::net::SocketAddr;

use wslnet_protocol::{ForwardState, Protocol};
use wslnet_relay::Counters;

use super::report::{DistroReport, ForwardReport, StatusReport};
use super::work::Work;
use crate::ledger::Key;
use crate::plan;

impl Work {
    /// The state as a whole; `forwards` is what [`Self::list`] says of each.
    pub(super) fn status(&self, forwards: &[ForwardReport]) -> StatusReport {
        let active = |forward: &&ForwardReport| forward.state == ForwardState::Active;
        let count = |is: fn(&ForwardReport) -> bool| {
            forwards
                .iter()
                .filter(active)
                .filter(|forward| is(forward))
                .count()
        };
        StatusReport {
            version: crate::VERSION.to_owned(),
            form: self.parts.form,
            rights: self.parts.rights.clone(),
            control: self.parts.control,
            backend: self.executor.backend().to_string(),
            capability: self.executor.capability(),
            reach: self.parts.config.policy.reach,
            addresses: plan::lan_addresses(&self.interfaces, self.parts.control, &self.parts.config.policy),
            trusted: self.parts.trust.count(),
            distros: self
                .ledger
                .sessions()
                .map(|session| DistroReport {
                    distro: session.distro.to_owned(),
                    session: session.id,
                    peer: session.peer,
                    connected: session.connected,
                    daemon: session.daemon.to_owned(),
                    generation: session.generation,
                })
                .collect(),
            active: count(|_| true),
            udp: count(|forward| forward.protocol == Protocol::Udp),
            moved: count(|forward| forward.port != forward.wanted),
            names: self.parts.naming.summary(self.parts.config.names),
            inactive: forwards.len() - count(|_| true),
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
            let outcomes = self.desired.outcomes.get(*distro).into_iter().flatten();
            let forwards = claims.granted.iter().chain(claims.over_limit);
            for ((forward, status), (_, outcome)) in forwards.zip(&told.forwards).zip(outcomes) {
                let wanted = Key::of(forward);
                let key = outcome.relayed_at().unwrap_or(wanted);
                let applied = self.executor.actual().relays.get(&key);
                let ours =
                    applied.is_some_and(|applied| applied.distro == *distro && applied.id == forward.id);
                let counters = self.executor.counters(&key).filter(|_| ours).unwrap_or_default();
                rows.push(ForwardReport {
                    distro: (*distro).to_owned(),
                    protocol: forward.protocol,
                    port: key.port,
                    wanted: wanted.port,
                    listen: status.listen.clone(),
                    target: SocketAddr::new(claims.peer, forward.port),
                    state: status.state,
                    reason: with_counters(&status.reason, forward.protocol, &counters),
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
        rows.sort_by(|a, b| (a.port, a.protocol, &a.distro).cmp(&(b.port, b.protocol, &b.distro)));
        rows
    }
}

/// A forward's reason, and what happened to its clients that nobody else is told.
fn with_counters(reason: &str, protocol: Protocol, counters: &Counters) -> String {
    // Who sends datagrams is known only once there is a flow for them.
    let (who, limit, failed) = match protocol {
        Protocol::Tcp => (
            "clients",
            "connections",
            "clients not connected, as the service did not answer",
        ),
        Protocol::Udp => ("datagrams", "flows", "flows ended, as the service refused them"),
    };
    let counted = [
        (
            counters.refused_clients,
            format!(
                "{who} from outside Windows' networks refused (`clients = \"any\"` in companion.toml admits them)"
            ),
        ),
        (
            counters.refused_by_limit,
            format!("{who} refused at the limit of {limit}"),
        ),
        (counters.dial_failures, failed.to_owned()),
    ];
    let counted = counted
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{what}: {count}"));
    let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
    reason.into_iter().chain(counted).collect::<Vec<_>>().join("; ")
}
