//! What to measure, how long, and where the results go.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// The command line.
#[derive(Debug, Clone, Parser)]
#[command(
    about = "Measures wslnet against other programs for the same job, in network namespaces of its own"
)]
pub struct Options {
    /// Measure less often and shorter, for a first impression.
    #[arg(long)]
    pub quick: bool,
    /// The least that shows that every part of this still works; its figures mean nothing. Without other programs.
    #[arg(long, conflicts_with = "quick")]
    pub smoke: bool,
    /// The folder for the results.
    #[arg(long, value_name = "FOLDER", default_value = "bench")]
    pub out: PathBuf,
    /// How many rounds of the relay part, instead of what the form asks for.
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    /// Of the relay part, only rows whose name begins with one of these (`direct` is always there).
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// What to measure; all, if nothing is named.
    pub parts: Vec<Part>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// listen() to reachable, close() to refused.
    Exposure,
    /// What it costs to wait.
    Idle,
    /// What one look at the listeners costs.
    Scan,
    /// What goes through the relay.
    Relay,
    /// A new address of the VM.
    Retarget,
    /// Many listeners.
    Growth,
    /// Single steps.
    Micro,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value().expect("no part is hidden");
        f.write_str(value.get_name())
    }
}

impl Options {
    /// The same with all parts, if none was named.
    pub fn resolved(mut self) -> Self {
        if self.parts.is_empty() {
            self.parts = Part::value_variants().to_vec();
        }
        self
    }

    /// One of three values, by the form of the run.
    pub fn by_form<T>(&self, full: T, quick: T, smoke: T) -> T {
        if self.smoke {
            smoke
        } else if self.quick {
            quick
        } else {
            full
        }
    }

    /// How this run is called in the report.
    pub fn form(&self) -> &'static str {
        self.by_form("full", "quick", "smoke")
    }

    /// Whether everything is measured, in full.
    pub fn is_complete(&self) -> bool {
        self.form() == "full" && self.only.is_empty() && self.parts == Part::value_variants()
    }

    /// One of three times, in milliseconds, by the form of the run.
    pub fn time(&self, full: u64, quick: u64, smoke: u64) -> Duration {
        Duration::from_millis(self.by_form(full, quick, smoke))
    }
}
