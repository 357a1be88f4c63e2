//! The plot: four small charts in one SVG, in text that any browser draws.

use std::fmt::Write;

use super::table::grouped;
use super::{Report, Section};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 620.0;
const OURS: &str = "#1f6feb";
const OURS_LIGHT: &str = "#9cc2f8";
const OTHERS: &str = "#8a929c";
const OTHERS_LIGHT: &str = "#cdd3da";
const INK: &str = "#24292f";
const FAINT: &str = "#6e7781";
const GRID: &str = "#e6e9ed";

/// A part of the picture for one chart. Names stand left of `axis`.
struct Panel {
    left: f64,
    top: f64,
    axis: f64,
    right: f64,
}

/// Values of one subject.
struct Line {
    name: String,
    is_ours: bool,
    values: Vec<f64>,
}

/// The whole picture.
pub fn svg(report: &Report) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"12\">\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"#ffffff\" stroke=\"#d0d7de\"/>\n",
        WIDTH - 1.0,
        HEIGHT - 1.0
    );
    let panel = |column: usize, row: usize| {
        let (left, top) = (24.0 + 468.0 * column as f64, 28.0 + 284.0 * row as f64);
        Panel {
            left,
            top,
            axis: left + 132.0,
            right: left + 430.0,
        }
    };
    if let Some(section) = report.section("exposure") {
        panel(0, 0).spans(
            &mut out,
            "How soon",
            "ms, logarithmic: dots at p50, p99, maximum",
            &exposure(section),
        );
    }
    if let Some(section) = report.section("idle") {
        panel(1, 0).spans(
            &mut out,
            "Idle",
            "% of a core, logarithmic: 0, 10,000 and 100,000 connections in the VM",
            &idle(section),
        );
    }
    if let Some(section) = report.section("relay") {
        let ratios = lines(section, &["stream_1_ratio", "stream_32_ratio"], |subject| {
            subject != "direct"
        });
        panel(0, 1).bars(
            &mut out,
            "Through the relay",
            "of direct: 1 stream (full colour), 32 streams (light)",
            &ratios,
            2,
        );
        let rates = lines(section, &["connections"], |_| true);
        panel(1, 1).bars(
            &mut out,
            "New connections",
            "each second, with a question and an answer",
            &rates,
            0,
        );
    }
    text(
        &mut out,
        24.0,
        HEIGHT - 14.0,
        "start",
        FAINT,
        10.5,
        &report.setting(),
    );
    out += "</svg>\n";
    out
}

fn exposure(section: &Section) -> Vec<Line> {
    let mut lines = Vec::new();
    for (what, key) in [("reachable", "reachable"), ("refused", "refused")] {
        for subject in ["wslnet", "pasta"] {
            let values = ["p50", "p99", "max"].map(|part| section.cell(subject, &format!("{key}_{part}")));
            lines.push(Line {
                name: format!("{subject}, {what}"),
                is_ours: subject == "wslnet",
                values: values.into_iter().flatten().collect(),
            });
        }
    }
    lines.retain(|line| !line.values.is_empty());
    lines
}

fn idle(section: &Section) -> Vec<Line> {
    lines(section, &["cpu_0", "cpu_1", "cpu_2"], |_| true)
}

fn lines(section: &Section, columns: &[&str], wanted: impl Fn(&str) -> bool) -> Vec<Line> {
    let rows = section.rows.iter().filter(|row| wanted(&row.subject));
    let lines = rows.map(|row| Line {
        name: row.subject.clone(),
        is_ours: row.subject.starts_with("wslnet"),
        values: columns
            .iter()
            .filter_map(|column| row.cells.get(column).copied())
            .collect(),
    });
    lines.filter(|line| !line.values.is_empty()).collect()
}

impl Panel {
    /// A dot for each value of a line, on a logarithmic axis.
    fn spans(&self, out: &mut String, title: &str, unit: &str, lines: &[Line]) {
        self.head(out, title, unit);
        let all = || {
            lines
                .iter()
                .flat_map(|line| &line.values)
                .copied()
                .map(|value| value.max(1e-4))
        };
        let low = all().fold(f64::MAX, f64::min).log10().floor();
        let high = all().fold(f64::MIN, f64::max).log10().ceil().max(low + 1.0);
        let at = |value: f64| {
            self.axis + (value.max(1e-4).log10() - low) / (high - low) * (self.right - self.axis)
        };
        let bottom = self.row(lines.len(), lines.len()) - 10.0;
        for power in low as i32..=high as i32 {
            let value = 10_f64.powi(power);
            self.grid(out, at(value), bottom, &plain(value));
        }
        for (index, line) in lines.iter().enumerate() {
            let y = self.row(index, lines.len());
            let colour = if line.is_ours { OURS } else { OTHERS };
            self.name(out, y, line);
            let (first, last) = (line.values[0], line.values[line.values.len() - 1]);
            let _written = writeln!(
                out,
                "<line x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" stroke-width=\"3\" stroke-opacity=\"0.35\"/>",
                at(first),
                at(last)
            );
            for (step, value) in line.values.iter().enumerate() {
                let radius = 5.5 - step as f64;
                let _written = writeln!(
                    out,
                    "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>",
                    at(*value)
                );
            }
            let label = |out: &mut String, value: f64| {
                let digits = if value < 1.0 { 3 } else { 1 };
                text(
                    out,
                    at(value),
                    y - 9.0,
                    "middle",
                    colour,
                    10.5,
                    &grouped(value, digits),
                );
            };
            label(out, first);
            // Only where there is room beside the other one.
            if (at(last) - at(first)).abs() > 42.0 {
                label(out, last);
            }
        }
    }

    /// A bar for each value of a line, from zero.
    fn bars(&self, out: &mut String, title: &str, unit: &str, lines: &[Line], digits: usize) {
        self.head(out, title, unit);
        let most = lines
            .iter()
            .flat_map(|line| &line.values)
            .copied()
            .fold(f64::MIN_POSITIVE, f64::max);
        // Room for the figure behind the longest one.
        let at = |value: f64| self.axis + value / most * (self.right - self.axis - 60.0);
        for (index, line) in lines.iter().enumerate() {
            let y = self.row(index, lines.len());
            self.name(out, y, line);
            let colours = if line.is_ours {
                [OURS, OURS_LIGHT]
            } else {
                [OTHERS, OTHERS_LIGHT]
            };
            let height = 16.0 / line.values.len() as f64;
            for (step, (value, colour)) in line.values.iter().zip(colours).enumerate() {
                let top = y - 8.0 + step as f64 * height;
                let _written = writeln!(
                    out,
                    "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"1.5\" fill=\"{colour}\"/>",
                    self.axis,
                    (at(*value) - self.axis).max(1.0),
                    height - 1.0
                );
            }
            let figures: Vec<String> = line.values.iter().map(|value| grouped(*value, digits)).collect();
            let longest = line.values.iter().copied().fold(0.0, f64::max);
            let ink = if line.is_ours { OURS } else { FAINT };
            let inside = at(longest) + 6.0;
            text(out, inside, y + 4.0, "start", ink, 10.5, &figures.join(" · "));
        }
    }

    fn head(&self, out: &mut String, title: &str, unit: &str) {
        text(out, self.left, self.top + 4.0, "start", INK, 15.0, title);
        text(out, self.left, self.top + 22.0, "start", FAINT, 11.0, unit);
    }

    fn name(&self, out: &mut String, y: f64, line: &Line) {
        let ink = if line.is_ours { OURS } else { INK };
        text(out, self.axis - 8.0, y + 4.0, "end", ink, 12.0, &line.name);
    }

    /// Where the middle of a row is.
    fn row(&self, index: usize, count: usize) -> f64 {
        let step = (200.0 / count.max(1) as f64).min(44.0);
        self.top + 52.0 + step * index as f64
    }

    fn grid(&self, out: &mut String, x: f64, bottom: f64, label: &str) {
        let top = self.top + 34.0;
        let _written = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{GRID}\"/>"
        );
        text(out, x, bottom + 14.0, "middle", FAINT, 10.0, label);
    }
}

/// A power of ten without noughts that say nothing.
fn plain(value: f64) -> String {
    if value < 1.0 {
        value.to_string()
    } else {
        grouped(value, 0)
    }
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, ink: &str, size: f64, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _written = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{ink}\" font-size=\"{size}\">{words}</text>"
    );
}
