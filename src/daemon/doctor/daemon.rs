//! What the running daemon says: its session with Windows, and what Windows made of its listeners.

use wslnet_protocol::limits;

use super::finding::Finding;
use super::scene::Scene;
use crate::report::StatusReport;

/// This program's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn check(scene: &Scene) -> Vec<Finding> {
    judge(scene.status.as_ref())
}

fn judge(status: Result<&StatusReport, &String>) -> Vec<Finding> {
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            return vec![Finding::fail(
                error,
                "sudo systemctl start wslnetd; `journalctl -u wslnetd` says why it ended",
            )];
        }
    };
    let mut findings = vec![session(status)];
    if status.version != VERSION {
        findings.push(Finding::warn(
            format!(
                "the running daemon is version {}, this program {VERSION}",
                status.version
            ),
            "sudo systemctl restart wslnetd",
        ));
    }
    if let Some(version) = status
        .companion
        .version
        .as_ref()
        .filter(|version| *version != VERSION)
    {
        findings.push(Finding::warn(
            format!("the companion is version {version}, this program {VERSION}"),
            "install the same release of wslnetd and wslnet-companion",
        ));
    }
    if let Some(error) = &status.scan_error {
        findings.push(Finding::fail(
            format!("listeners cannot be looked for: {error}"),
            "sudo systemctl restart wslnetd; `journalctl -u wslnetd` says more",
        ));
    }
    let troubles = status.container_troubles.iter().chain(&status.unit_trouble);
    findings.extend(
        troubles.map(|trouble| Finding::warn(trouble, "as the text says; `wslnetd status` repeats it")),
    );
    findings
}

fn session(status: &StatusReport) -> Finding {
    let companion = &status.companion;
    if companion.state != "connected" {
        return Finding::fail(
            format!("wslnetd is {}: {}", companion.state, companion.reason),
            "as the text says, and as `companion` above",
        );
    }
    let distro = companion.distro.as_deref().unwrap_or("-");
    let session = format!(
        "connected, Windows knows this distro as {distro}, and keeps its ports for {} s without a sign of life; {} of {} exposed \
         listeners are forwarded",
        limits::LEASE.as_secs(),
        status.active.min(status.exposed),
        status.exposed
    );
    // Several listeners of one port are one forward, so fewer forwards alone say nothing; none at all do.
    if status.exposed > 0 && status.active == 0 {
        Finding::warn(session, "the column REASON of `wslnetd list` says why")
    } else {
        Finding::ok(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::fixture::{World, ours};
    use crate::report;

    fn status() -> StatusReport {
        let mut status = report::status(&World::with(vec![ours(1, 8000)]).picture());
        status.companion.state = "connected".to_owned();
        status.companion.version = Some(VERSION.to_owned());
        (status.exposed, status.active) = (1, 1);
        (status.scan_error, status.unit_trouble) = (None, None);
        status.container_troubles.clear();
        status
    }

    fn levels(status: &StatusReport) -> Vec<&'static str> {
        let findings = judge(Ok(status));
        findings.iter().map(|finding| finding.level.word()).collect()
    }

    #[test]
    fn a_session_is_good_and_anything_else_fails_with_the_daemons_reason() {
        assert_eq!(levels(&status()), ["ok"]);
        let mut alone = status();
        alone.companion.state = "connecting".to_owned();
        alone.companion.reason = "172.28.0.1:9756 does not answer".to_owned();
        let found = judge(Ok(&alone));
        assert!(found[0].text.contains("does not answer") && found[0].level.word() == "fail");
        let stopped = judge(Err(&"wslnetd is not running".to_owned()));
        assert_eq!(stopped[0].level.word(), "fail");
    }

    #[test]
    fn other_versions_and_nothing_forwarded_are_warnings() {
        let mut mixed = status();
        mixed.version = "0.0.9".to_owned();
        mixed.companion.version = Some("0.2.0".to_owned());
        mixed.active = 0;
        assert_eq!(levels(&mixed), ["warn", "warn", "warn"]);
    }
}
