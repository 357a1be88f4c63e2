//! Figures, and the forms in which they are shown: a table, JSON, a plot, and Markdown for the README.

mod markdown;
mod plot;
mod table;
mod targets;

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;

use self::targets::Target;
use crate::machine::{self, Machine};
use crate::options::Options;

/// A column of a section.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// Under which key cells and samples stand.
    pub key: &'static str,
    /// Its head in tables, with the unit.
    pub head: &'static str,
    /// How many digits tables show after the point.
    #[serde(skip)]
    pub digits: usize,
}

/// A column.
pub const fn column(key: &'static str, head: &'static str, digits: usize) -> Column {
    Column { key, head, digits }
}

/// What was measured of one subject.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// Whose figures these are.
    pub subject: String,
    /// From where to where, through what.
    pub topology: String,
    /// The figures, by column.
    pub cells: BTreeMap<&'static str, f64>,
    /// Why figures are missing, or what is to be known of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the figures were made of.
    pub samples: BTreeMap<&'static str, Vec<f64>>,
}

/// The figures of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// A short name.
    pub key: &'static str,
    /// What is measured.
    pub title: String,
    /// How, in a few sentences.
    pub how: String,
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// A row for each subject.
    pub rows: Vec<Row>,
}

impl Section {
    /// A figure.
    pub fn cell(&self, subject: &str, column: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.subject == subject)?;
        row.cells.get(column).copied()
    }
}

/// Everything that a run has found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `full`, `quick` or `smoke`.
    form: &'static str,
    /// Whether all parts were measured, in full.
    complete: bool,
    /// Which program was measured.
    version: &'static str,
    /// The day of the run.
    day: String,
    machine: Machine,
    seconds: f64,
    sections: Vec<Section>,
    targets: Vec<Target>,
    #[serde(skip)]
    start: Instant,
}

impl Report {
    /// A report of a run that begins now.
    pub fn new(options: &Options) -> Self {
        Self {
            form: options.form(),
            complete: options.is_complete(),
            version: env!("CARGO_PKG_VERSION"),
            day: machine::day(),
            machine: Machine::describe(),
            seconds: 0.0,
            sections: Vec::new(),
            targets: Vec::new(),
            start: Instant::now(),
        }
    }

    /// Adds what a part has found.
    pub fn add(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// What a part has found.
    pub fn section(&self, key: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.key == key)
    }

    /// In one line: what was run, on which machine.
    fn setting(&self) -> String {
        let Machine {
            cpu,
            cores,
            memory_gib,
            kernel,
            load,
            ..
        } = &self.machine;
        let load: Vec<String> = load.iter().map(f64::to_string).collect();
        format!(
            "wslnet {}, {} run of {}: {cores} cores of {cpu}, {memory_gib:.0} GiB, Linux {kernel}, load {}",
            self.version,
            self.form,
            self.day,
            load.join(" to ")
        )
    }

    /// Says which targets are met, and writes the files.
    pub fn finish(mut self, options: &Options) -> anyhow::Result<()> {
        self.seconds = self.start.elapsed().as_secs_f64().round();
        self.machine.load.push(machine::load());
        // The figures of a smoke run mean nothing.
        if !options.smoke {
            self.targets = targets::targets(&self.sections);
        }
        if !self.targets.is_empty() {
            println!("\nTargets");
        }
        for target in &self.targets {
            println!("  {target}");
        }
        println!("\n{}\n", self.setting());
        let plot = if self.complete {
            "how-fast.svg"
        } else {
            "quick.svg"
        };
        let json = serde_json::to_string_pretty(&self).context("cannot write JSON")?;
        fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
        for (name, text) in [
            ("results.json", json + "\n"),
            ("README-table.md", markdown::markdown(&self)),
            (plot, plot::svg(&self)),
        ] {
            let path = options.out.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{}", path.display());
        }
        Ok(())
    }
}
