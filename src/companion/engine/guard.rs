//! What Windows Firewall means for the forwards, as the loop sees it.

use wslnet_protocol::{ForwardState, Protocol};

use super::report::{FindingReport, NetworkReport};
use super::work::Work;
use crate::firewall::{Finding, Question, findings};
use crate::host::{Category, Interface};
use crate::names::States;
use crate::plan;

impl Work {
    /// Something else was seen of the firewall than before.
    pub(super) fn look_at_firewall(&mut self) {
        if let Some(Ok(look)) = &*self.firewall.look() {
            self.executor.compare_rules(&look.ours);
        }
        for finding in self.findings() {
            let Finding { what, fix, .. } = finding;
            if self.told_findings.insert(what.clone()) {
                tracing::warn!(what, fix, "Windows Firewall");
            }
        }
        self.tell();
    }

    /// What stands in the way, as it is known.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let look = self.firewall.look();
        let Some(look) = &*look else {
            return Vec::new();
        };
        let control = self.parts.control.network;
        let addresses = self.addresses();
        let is_used = |address| addresses.contains(address);
        let used = self
            .interfaces
            .iter()
            .filter(|interface| interface.addresses.iter().any(|entry| is_used(&entry.address)));
        let is_reached = self.ledger.sessions().next().is_some();
        findings(
            look,
            Question {
                image: self.firewall.image(),
                used: used
                    .map(|interface| interface.category.unwrap_or(Category::Public))
                    .collect(),
                backend: self.executor.backend(),
                udp: self
                    .desired
                    .relays
                    .keys()
                    .any(|key| key.protocol == Protocol::Udp),
                unreached: control.filter(|_| !is_reached).map(|control| control.port()),
            },
        )
    }

    /// Adds to the forwards that are open to networks what may keep their clients out.
    pub(super) fn note_firewall(&self, states: &mut States) {
        let mut notes: Vec<String> = self
            .findings()
            .into_iter()
            .filter(|finding| finding.keeps_clients_out)
            .map(|Finding { what, fix, .. }| format!("{what}: {fix}"))
            .collect();
        notes.extend(self.executor.rule_trouble());
        if notes.is_empty() {
            return;
        }
        let note = format!("clients may be kept out: {}", notes.join("; "));
        // What keeps clients from this program's sockets is no matter of ports that it does not have.
        let is_served = |distro: &str| {
            let mut sessions = self.ledger.sessions();
            sessions.all(|session| session.distro != distro || !session.mode.shares_ports())
        };
        let served = states.iter_mut().filter(|(distro, _)| is_served(distro));
        for status in served.flat_map(|(_, statuses)| statuses) {
            let is_open = status.listen.iter().any(|address| !address.ip().is_loopback());
            if status.state == ForwardState::Active && is_open {
                if !status.reason.is_empty() {
                    status.reason.push_str("; ");
                }
                status.reason.push_str(&note);
            }
        }
    }

    /// The findings, for `status`.
    pub(super) fn finding_reports(&self) -> Vec<FindingReport> {
        let mut reports: Vec<FindingReport> = self
            .findings()
            .into_iter()
            .map(|finding| FindingReport {
                what: finding.what,
                fix: finding.fix,
                keeps_clients_out: finding.keeps_clients_out,
            })
            .collect();
        reports.extend(self.executor.rule_trouble().map(|what| FindingReport {
            what,
            fix: String::new(),
            keeps_clients_out: true,
        }));
        reports
    }

    /// The networks, for `status`.
    pub(super) fn network_reports(&self) -> Vec<NetworkReport> {
        let policy = &self.parts.config.policy;
        let left_out = plan::left_out(&self.interfaces, &self.parts.control, policy);
        let addresses = self.addresses();
        let report = |interface: &Interface| {
            let left_out = left_out.iter().find(|left_out| left_out.index == interface.index);
            let is_used = interface
                .addresses
                .iter()
                .any(|entry| addresses.contains(&entry.address));
            (is_used || left_out.is_some()).then(|| NetworkReport {
                interface: interface.name.clone(),
                category: interface.category,
                left_out: left_out.map(plan::LeftOut::reason).unwrap_or_default(),
            })
        };
        self.interfaces.iter().filter_map(report).collect()
    }
}
