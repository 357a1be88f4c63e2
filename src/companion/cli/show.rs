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
    line("runs", runs(status));
    line("listens on", status.control.to_string());
    line("backend", format!("{}, reach {}", status.backend, status.reach));
    if !status.capability.is_empty() {
        line("capability", status.capability.clone());
    }
    line("addresses", join(&status.addresses));
    line("keys", format!("{} trusted", status.trusted));
    line("forwards", forwards(status));
    line("names", status.names.clone());
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

/// In which form it runs, what it can do, and what it cannot.
fn runs(status: &StatusReport) -> String {
    let mut text = status.form.to_string();
    let can: Vec<&str> = status
        .rights
        .iter()
        .filter(|right| right.missing.is_none())
        .map(|right| right.what.as_str())
        .collect();
    if !can.is_empty() {
        let _ = write!(text, "; can {}", can.join(", "));
    }
    for right in &status.rights {
        if let Some(missing) = &right.missing {
            let _ = write!(text, "; cannot {}: {}", right.what, clean(missing, 300));
        }
    }
    text
}

/// How many forwards there are, and of which kinds that people ask about.
fn forwards(status: &StatusReport) -> String {
    let kinds: Vec<String> = [
        (status.udp, "over UDP"),
        (status.moved, "at another port than wanted"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, kind)| format!("{count} {kind}"))
    .collect();
    let kinds = match kinds.as_slice() {
        [] => String::new(),
        kinds => format!(" ({})", kinds.join(", ")),
    };
    format!("{} active{kinds}, {} not", status.active, status.inactive)
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
            port(row),
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

/// The port of Windows, and where it came from if the forward wanted another one.
fn port(row: &ForwardReport) -> String {
    if row.port == row.wanted {
        row.port.to_string()
    } else {
        format!("{}->{}", row.wanted, row.port)
    }
}

fn join(list: &[impl ToString]) -> String {
    if list.is_empty() {
        return "-".to_owned();
    }
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::net::SocketAddr;

    use wslnet_protocol::{Protocol, Reach};

    use super::*;
    use crate::capability::Capability;
    use crate::form::Form;

    #[test]
    fn the_form_and_the_rights_are_in_one_line() {
        let right = |what: &str, missing: Option<&str>| Capability {
            what: what.to_owned(),
            missing: missing.map(str::to_owned),
        };
        let mut status = empty();
        status.rights = vec![
            right("open ports", None),
            right("keep names", Some("no right to write the hosts file")),
            right("use portproxy", None),
        ];

        assert_eq!(
            runs(&status),
            "logon; can open ports, use portproxy; cannot keep names: no right to write the hosts file"
        );
    }

    #[test]
    fn a_row_shows_the_protocol_and_where_a_forward_moved() {
        let rows = [
            row(
                Protocol::Udp,
                8000,
                8001,
                "port 8000 was taken by x.exe (pid 7); listens at 8001 instead",
            ),
            row(Protocol::Tcp, 9000, 9000, ""),
        ];

        let text = list(&rows).render(None);

        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0][..4], ["DISTRO", "PROTO", "PORT", "LISTENS"]);
        assert_eq!(
            lines[1][..4],
            ["debian", "udp", "8000->8001", "192.168.1.20:8001"]
        );
        assert!(text.contains("listens at 8001 instead"), "{text}");
        assert_eq!(lines[2][..4], ["debian", "tcp", "9000", "192.168.1.20:9000"]);
    }

    #[test]
    fn the_status_counts_what_is_special_only_where_there_is_some() {
        let of = |udp, moved| {
            forwards(&StatusReport {
                udp,
                moved,
                ..empty()
            })
        };

        assert_eq!(of(0, 0), "3 active, 1 not");
        assert_eq!(of(0, 1), "3 active (1 at another port than wanted), 1 not");
        assert_eq!(
            of(2, 1),
            "3 active (2 over UDP, 1 at another port than wanted), 1 not"
        );
    }

    fn empty() -> StatusReport {
        StatusReport {
            version: "0.1.0".into(),
            form: Form::Logon,
            rights: vec![],
            control: "172.20.0.1:9756".parse().unwrap(),
            backend: "relay".into(),
            capability: String::new(),
            reach: Reach::Lan,
            addresses: vec![],
            trusted: 1,
            distros: vec![],
            active: 3,
            udp: 0,
            moved: 0,
            inactive: 1,
            names: String::new(),
            config_error: None,
        }
    }

    fn row(protocol: Protocol, wanted: u16, port: u16, reason: &str) -> ForwardReport {
        ForwardReport {
            distro: "debian".into(),
            protocol,
            port,
            wanted,
            listen: vec![SocketAddr::from(([192, 168, 1, 20], port))],
            target: SocketAddr::from(([172, 20, 0, 2], wanted)),
            state: ForwardState::Active,
            reason: reason.into(),
            reach: Reach::Lan,
            name: None,
            labels: vec![],
            connections: 0,
            refused: 0,
            dial_failures: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }
}
