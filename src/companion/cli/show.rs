//! Reports as people read them.

use std::fmt::Write as _;

use wslnet_console::output::Table;
use wslnet_console::text::clean;
use wslnet_protocol::{ForwardState, limits};

use crate::engine::{ForwardReport, StatusReport};

/// The status, a few lines.
pub(super) fn status(status: &StatusReport) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:>11}: {value}");
    };
    line("version", status.version.clone());
    line("listens on", status.control.to_string());
    line("backend", format!("{}, reach {}", status.backend, status.reach));
    line("addresses", join(&status.addresses));
    line("keys", format!("{} trusted", status.trusted));
    line(
        "forwards",
        format!("{} active, {} not", status.active, status.inactive),
    );
    for distro in &status.distros {
        let link = if distro.connected {
            "connected"
        } else {
            "not connected, forwards kept for a moment"
        };
        line(
            "distro",
            format!(
                "{} at {}, wslnetd {}, {link}",
                distro.distro,
                distro.peer,
                clean(&distro.daemon, 64)
            ),
        );
    }
    if status.distros.is_empty() {
        line("distro", "none".to_owned());
    }
    if let Some(error) = &status.config_error {
        line("config", format!("a changed file was not taken over:\n{error}"));
    }
    text
}

/// The forwards, a row each.
pub(super) fn list(list: &[ForwardReport]) -> Table {
    let header = [
        "DISTRO",
        "PROTO",
        "PORT",
        "LISTENS ON",
        "TARGET",
        "STATE",
        "CONNS",
        "IN",
        "OUT",
        "REASON",
    ];
    let mut table = Table::new(header).right_aligned([2, 6, 7, 8]);
    for row in list {
        let reason = if row.state == ForwardState::Active && row.reason.is_empty() {
            row.labels
                .iter()
                .map(|label| clean(label, limits::TEXT_CHARS))
                .collect::<Vec<_>>()
                .join(" ")
        } else {
            clean(&row.reason, 500)
        };
        table.row([
            row.distro.clone(),
            row.protocol.to_string(),
            row.port.to_string(),
            join(&row.listen),
            row.target.to_string(),
            row.state.to_string(),
            row.connections.to_string(),
            row.bytes_in.to_string(),
            row.bytes_out.to_string(),
            reason,
        ]);
    }
    table
}

fn join(list: &[impl ToString]) -> String {
    if list.is_empty() {
        return "-".to_owned();
    }
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
