//! The figures that the README shows, as Markdown.

use super::table::grouped;
use super::{Report, Section};

/// What is in the tables, and what was measured with what.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    if let Some(section) = report.section("exposure") {
        text += "| | wslnet | pasta |\n|---|---|---|\n";
        for (what, key) in [
            ("`listen()` to reachable", "reachable"),
            ("`close()` to refused", "refused"),
        ] {
            text += &format!("| {what}, p50 / p99 |");
            for subject in ["wslnet", "pasta"] {
                text += &format!(" {} |", pair(section, subject, key));
            }
            text.push('\n');
        }
        text.push('\n');
    }
    if let Some(section) = report.section("idle") {
        let levels = [("no", "0"), ("10,000", "1"), ("100,000", "2")];
        let levels: Vec<_> = levels
            .iter()
            .filter(|(_, level)| {
                section
                    .rows
                    .iter()
                    .any(|row| row.cells.contains_key(format!("cpu_{level}").as_str()))
            })
            .collect();
        text += "| idle, with";
        for (name, _) in &levels {
            text += &format!(" | {name} connections");
        }
        text += " | memory |\n|---|";
        text += &"---|".repeat(levels.len() + 1);
        text.push('\n');
        for row in &section.rows {
            text += &format!("| {} |", row.subject);
            for (_, level) in &levels {
                text += &format!(
                    " {} % |",
                    shown(section, &row.subject, &format!("cpu_{level}"), 3)
                );
            }
            let last = levels.last().map_or("0", |(_, level)| level);
            text += &format!(
                " {} MiB |\n",
                shown(section, &row.subject, &format!("rss_{last}"), 1)
            );
        }
        text.push('\n');
    }
    if let Some(section) = report.section("relay") {
        text += "| through the relay | 1 stream, Gbit/s | 32 streams, Gbit/s | round trip p50 | new connections/s |\n|---|---|---|---|---|\n";
        for row in &section.rows {
            let cell = |key, digits| shown(section, &row.subject, key, digits);
            text += &format!(
                "| {} | {} ({}) | {} ({}) | {} µs | {} ({}) |\n",
                row.subject,
                cell("stream_1", 1),
                cell("stream_1_ratio", 2),
                cell("stream_32", 1),
                cell("stream_32_ratio", 2),
                cell("round_trip_p50", 0),
                cell("connections", 0),
                cell("connections_ratio", 2),
            );
        }
        text += "\nIn brackets: of direct.\n\n";
        for row in &section.rows {
            if let Some(note) = &row.note {
                text += &format!("{}: {note}\n\n", row.subject);
            }
        }
    }
    if let Some(figure) = report
        .section("retarget")
        .and_then(|section| section.cell("wslnet", "retarget_p50"))
    {
        text += &format!(
            "1,000 forwards follow a new address of the VM in {} ms.\n\n",
            grouped(figure, 0)
        );
    }
    text += &format!("{}\n", report.setting());
    text
}

fn pair(section: &Section, subject: &str, key: &str) -> String {
    let part = |part: &str| shown(section, subject, &format!("{key}_{part}"), 1);
    format!("{} / {} ms", part("p50"), part("p99"))
}

fn shown(section: &Section, subject: &str, column: &str, digits: usize) -> String {
    section
        .cell(subject, column)
        .map_or_else(|| "–".to_owned(), |figure| grouped(figure, digits))
}
