//! Reports as people read them. All foreign text was cleaned when it was read, and the table cleans its cells again.

use std::fmt::Write as _;
use std::net::SocketAddr;

use wslnet_console::output::Table;
use wslnet_console::text::clean;

use crate::report::{Row, Selectors, StatusReport, Walk};

/// The longest label that is shown, in characters.
const LABEL_CHARS: usize = 512;

/// The status, a few lines.
pub(super) fn status(status: &StatusReport) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:>10}: {value}");
    };
    let companion = &status.companion;
    let address = companion
        .address
        .map_or_else(|| "address unknown".to_owned(), |address| address.to_string());
    let version = companion
        .version
        .as_ref()
        .map(|version| format!(", version {version}"))
        .unwrap_or_default();
    let known_as = companion
        .distro
        .as_ref()
        .map(|distro| format!(", knows this distro as {distro}"));
    line("version", status.version.clone());
    if let Some(distro) = &status.distro_name {
        line("distro", distro.clone());
    }
    if status.distro_is_missing {
        line(
            "distro",
            "unknown, so no selector with `distro=` matches: set distro = \"NAME\" in the configuration"
                .to_owned(),
        );
    }
    line("mode", format!("{} ({})", status.mode, status.mode_source));
    line(
        "vm address",
        status
            .vm_address
            .map_or_else(|| "-".to_owned(), |address| address.to_string()),
    );
    line(
        "companion",
        format!(
            "{address} {}{version}{}",
            companion.state,
            known_as.unwrap_or_default()
        ),
    );
    if !companion.reason.is_empty() {
        line("", companion.reason.clone());
    }
    line(
        "listeners",
        format!(
            "{}: {} exposed ({} active on Windows), {} withheld; {} more of other distros",
            status.listeners, status.exposed, status.active, status.withheld, status.foreign
        ),
    );
    line("windows", addresses(&status.windows));
    line(
        "source",
        status.source.clone().unwrap_or_else(|| "no scan yet".to_owned()),
    );
    if let Some(wake_up) = &status.wake_up {
        line("wake-up", wake_up.clone());
    }
    for trouble in &status.container_troubles {
        line("containers", trouble.clone());
    }
    if let Some(trouble) = &status.unit_trouble {
        line("units", trouble.clone());
    }
    if let Some(hosts) = &status.hosts {
        line("hosts file", hosts.clone());
    }
    if let Some(error) = &status.scan_error {
        line("scan", error.clone());
    }
    if let Some(error) = &status.config_error {
        line(
            "config",
            format!("the changed file was refused, the former configuration stays:\n{error}"),
        );
    }
    text
}

/// The listeners, a row each.
pub(super) fn list(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "PROTO",
        "ADDRESS",
        "PROCESS",
        "USER",
        "STATE",
        "ON WINDOWS",
        "REASON",
    ]);
    for row in rows {
        table.row([
            row.protocol.clone(),
            SocketAddr::new(row.address, row.port).to_string(),
            held_by(row),
            row.user.clone().unwrap_or_else(|| "-".to_owned()),
            row.state.clone(),
            addresses(&row.windows),
            row.reason.clone(),
        ]);
    }
    table
}

/// The process, and the container for which it holds the port.
fn held_by(row: &Row) -> String {
    let process = row.process.clone().unwrap_or_else(|| "-".to_owned());
    match &row.container {
        Some(container) => format!("{process} ({container})"),
        None => process,
    }
}

/// The listeners with all their labels, a label a line.
pub(super) fn labelled(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let address = SocketAddr::new(row.address, row.port);
        let _ = writeln!(text, "{} {address} {}", row.protocol, row.state);
        for label in &row.labels {
            let _ = writeln!(text, "    {}", clean(label, LABEL_CHARS));
        }
    }
    text
}

/// The terms of selectors as strings of TOML, a term a line. Where several listeners share the port, each has a heading.
pub(super) fn selectors(selectors: &[Selectors]) -> String {
    let mut text = String::new();
    for Selectors { listener, terms } in selectors {
        if selectors.len() > 1 {
            let _ = writeln!(text, "# {}", clean(listener, LABEL_CHARS));
        }
        for term in terms {
            let _ = writeln!(text, "{}", toml::Value::String(term.clone()));
        }
    }
    text
}

/// The way of a port, a step a line, and what to do.
pub(super) fn walk(walk: &Walk) -> String {
    let mut text = String::new();
    for explanation in &walk.listeners {
        let _ = writeln!(text, "{}", explanation.listener);
        for step in &explanation.steps {
            let _ = writeln!(
                text,
                "  {} {}: {}",
                if step.passed { "ok  " } else { "STOP" },
                step.name,
                step.finding
            );
        }
        let _ = writeln!(text);
    }
    let _ = writeln!(text, "{}", walk.conclusion);
    if let Some(advice) = &walk.advice {
        let _ = writeln!(
            text,
            "\nTo share it all the same, add this to the configuration, before other rules that match it, then \
             `sudo systemctl reload wslnetd`:\n"
        );
        for line in advice.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn addresses(list: &[impl ToString]) -> String {
    if list.is_empty() {
        return "-".to_owned();
    }
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
