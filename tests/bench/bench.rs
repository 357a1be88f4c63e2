//! The measurements behind what the README says of speed: how soon a listener is reachable, what the programs cost while
//! nothing happens, what the relay carries, and how all of it grows. `scripts/bench.sh` builds and runs this.
//!
//! The programs are the real ones, in the same worlds of network namespaces in which the end-to-end tests run them; other
//! programs for the same job stand in the same place, and the same code measures them. Everything is checked while it
//! is measured: bytes are compared, answers must be the service's, and closed means refused. A measurement that cannot
//! be trusted is an error, and the exit code says so; a target that is missed is not, the report says that.
#![expect(
    clippy::expect_used,
    reason = "a measurement that fails ends by panicking, and says why"
)]
#![expect(clippy::print_stdout, reason = "the report")]
#![expect(clippy::print_stderr, reason = "progress")]

#[expect(dead_code, unused_imports, reason = "the end-to-end tests use more of it")]
#[path = "../e2e/bench/mod.rs"]
mod e2e;

mod clock;
mod exposure;
mod growth;
mod helper;
mod idle;
mod machine;
mod micro;
mod options;
mod pasta;
mod probe;
mod relay;
mod report;
mod retarget;
mod scan;
mod statistics;

use std::process::ExitCode;

use clap::Parser;

use crate::options::{Options, Part};
use crate::report::Report;

fn main() -> ExitCode {
    machine::raise_limits();
    let args: Vec<String> = std::env::args().collect();
    let done = match args.get(1).map(String::as_str) {
        Some(helper::FLAG) => helper::main(&args[2..]),
        Some(_) | None => measure(&Options::parse().resolved()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> anyhow::Result<()> {
    e2e::require_root();
    machine::keep_mounts_private()?;
    let mut report = Report::new(options);
    for part in &options.parts {
        eprintln!("{part} …");
        let sections = match part {
            Part::Exposure => vec![exposure::measure(options)?],
            Part::Idle => vec![idle::measure(options)?],
            Part::Scan => vec![scan::measure(options)?],
            Part::Relay => vec![relay::measure(options)?],
            Part::Retarget => vec![retarget::measure(options)?],
            Part::Growth => vec![growth::measure(options)?],
            Part::Micro => vec![micro::measure(options)?],
        };
        for section in sections {
            println!("{}", section.table());
            report.add(section);
        }
    }
    report.finish(options)
}
