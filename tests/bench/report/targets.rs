//! What the project has set itself, and whether this run reached it. A target that is missed does not make the run fail.

use std::fmt;

use serde::Serialize;

use super::Section;
use super::table::grouped;

/// A program that we mean to be ahead of.
const BEHIND: [&str; 4] = ["socat", "haproxy", "nginx stream", "rinetd"];

/// A figure that is wanted.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    /// What is wanted.
    what: String,
    /// The figure of this run.
    measured: f64,
    /// With which it is compared.
    wanted: f64,
    unit: &'static str,
    at_most: bool,
    /// Whether it is reached.
    met: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.met { "met   " } else { "MISSED" };
        let sign = if self.at_most { "≤" } else { "≥" };
        let digits = if self.measured.abs() < 100.0 { 3 } else { 0 };
        write!(
            f,
            "{verdict}  {}: {}{unit} (wanted: {sign} {}{unit})",
            self.what,
            grouped(self.measured, digits),
            self.wanted,
            unit = self.unit
        )
    }
}

/// Those that this run can judge.
pub fn targets(sections: &[Section]) -> Vec<Target> {
    let mut targets = Vec::new();
    for section in sections {
        match section.key {
            "exposure" => exposure(section, &mut targets),
            "idle" => idle(section, &mut targets),
            "relay" => relay(section, &mut targets),
            "micro" => micro(section, &mut targets),
            _ => {}
        }
    }
    targets
}

fn exposure(section: &Section, targets: &mut Vec<Target>) {
    let ours = |column| section.cell("wslnet", column);
    let p50 = ours("reachable_p50");
    at_most(targets, "listen() to reachable, p50", p50, 2.0, " ms");
    at_most(
        targets,
        "listen() to reachable, p99",
        ours("reachable_p99"),
        10.0,
        " ms",
    );
    at_most(
        targets,
        "close() to refused, p99",
        ours("refused_p99"),
        10.0,
        " ms",
    );
    let pasta = section.cell("pasta", "reachable_p50");
    let times = pasta.zip(p50).map(|(pasta, ours)| pasta / ours);
    at_least(
        targets,
        "listen() to reachable, p50, against pasta",
        times,
        250.0,
        " times as fast",
    );
}

fn idle(section: &Section, targets: &mut Vec<Target>) {
    for program in ["wslnetd", "wslnet-companion"] {
        let most = |columns: [&str; 3]| {
            columns
                .iter()
                .filter_map(|column| section.cell(program, column))
                .reduce(f64::max)
        };
        let cpu = most(["cpu_0", "cpu_1", "cpu_2"]);
        at_most(
            targets,
            &format!("{program}, idle, most of all levels"),
            cpu,
            0.02,
            " % of a core",
        );
        let mebibytes = most(["rss_0", "rss_1", "rss_2"]);
        let megabytes = mebibytes.map(|mebibytes| mebibytes * 1.048_576);
        at_most(
            targets,
            &format!("{program}, memory, most of all levels"),
            megabytes,
            10.0,
            " MB",
        );
    }
}

fn relay(section: &Section, targets: &mut Vec<Target>) {
    let ours = |column| section.cell("wslnet", column);
    at_least(
        targets,
        "relay, 1 stream, of direct",
        ours("stream_1_ratio"),
        0.70,
        "",
    );
    at_least(
        targets,
        "relay, 32 streams, of direct",
        ours("stream_32_ratio"),
        0.80,
        "",
    );
    for (column, what) in [
        ("stream_1", "1 stream"),
        ("stream_32", "32 streams"),
        ("connections", "new connections/s"),
    ] {
        let best = BEHIND
            .iter()
            .filter_map(|peer| section.cell(peer, column))
            .reduce(f64::max);
        let ratio = ours(column).zip(best).map(|(ours, best)| ours / best);
        at_least(
            targets,
            &format!("relay, {what}, of the best of {}", BEHIND.join(", ")),
            ratio,
            1.0,
            "",
        );
    }
}

fn micro(section: &Section, targets: &mut Vec<Target>) {
    let steepest = section
        .rows
        .iter()
        .filter_map(|row| row.cells.get("steepest").copied())
        .reduce(f64::max);
    // Linear, and what sorting and maps add to it: 4,096 entries have 1.3 times the levels of 512, which is 0.14.
    at_most(
        targets,
        "growth of single steps, steepest exponent",
        steepest,
        1.15,
        "",
    );
}

fn at_most(targets: &mut Vec<Target>, what: &str, measured: Option<f64>, wanted: f64, unit: &'static str) {
    push(targets, what, measured, wanted, unit, true);
}

fn at_least(targets: &mut Vec<Target>, what: &str, measured: Option<f64>, wanted: f64, unit: &'static str) {
    push(targets, what, measured, wanted, unit, false);
}

/// Without a figure there is nothing to judge; the section says why.
fn push(
    targets: &mut Vec<Target>,
    what: &str,
    measured: Option<f64>,
    wanted: f64,
    unit: &'static str,
    at_most: bool,
) {
    let judged = measured.map(|measured| Target {
        what: what.to_owned(),
        measured,
        wanted,
        unit,
        at_most,
        met: if at_most {
            measured <= wanted
        } else {
            measured >= wanted
        },
    });
    targets.extend(judged);
}
