//! Single steps by themselves: how long they take, how many instructions that is, and how it grows.
//!
//! Instructions are what counts here: on a machine with other things to do they are the same every time, and time is
//! not. valgrind counts them. A case runs in a process of its own, once more and once less; the difference is what one
//! pass takes, without start and preparation. A library for that (gungraun) would want a runner of exactly its own version
//! installed beside it, and says nothing of growth.

pub mod cases;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use self::cases::{CASES, Case};
use crate::helper;
use crate::options::Options;
use crate::report::{Row, Section, column};
use crate::statistics::{exponent, median};

/// Its name among the helpers.
pub const NAME: &str = "micro";

/// Measures this part.
pub fn measure(options: &Options) -> anyhow::Result<Section> {
    let counts = !options.smoke && installed();
    // The largest size takes most of the time.
    let sizes = options.by_form(3, 2, 2);
    let rows: anyhow::Result<Vec<Row>> = CASES
        .iter()
        .map(|case| row(case, sizes, counts, options))
        .collect();
    Ok(Section {
        key: "micro",
        title: "Single steps".to_owned(),
        how: format!(
            "One pass over everything, at three sizes. Time: median. Instructions: {}. Growth: cost ~ size^exponent, by {} \
             (1 is linear, sorting a little more); the steepest step between two sizes beside it.",
            if counts {
                "those in the program, counted by valgrind"
            } else {
                "valgrind is not installed"
            },
            if counts { "instructions" } else { "time" }
        ),
        columns: vec![
            column("time_0", "small, µs", 1),
            column("time_1", "middle, µs", 1),
            column("time_2", "large, µs", 1),
            column("instructions_0", "thousand instr.", 0),
            column("instructions_1", "middle", 0),
            column("instructions_2", "large", 0),
            column("exponent", "exponent", 2),
            column("steepest", "steepest", 2),
        ],
        rows: rows?,
    })
}

fn row(case: &Case, sizes: usize, counts: bool, options: &Options) -> anyhow::Result<Row> {
    const TIMES: [&str; 3] = ["time_0", "time_1", "time_2"];
    const INSTRUCTIONS: [&str; 3] = ["instructions_0", "instructions_1", "instructions_2"];
    let sizes = &case.sizes[..sizes];
    let mut row = Row {
        subject: case.title.to_owned(),
        topology: format!(
            "{} {}",
            sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
            case.unit
        ),
        ..Row::default()
    };
    let mut points = Vec::new();
    for (index, size) in sizes.iter().enumerate() {
        let time = time_of(case, *size, options)?;
        row.cells.insert(TIMES[index], time);
        let mut cost = time;
        if counts {
            cost = instructions_of(case, *size)?;
            row.cells.insert(INSTRUCTIONS[index], cost / 1e3);
        }
        points.push((*size as f64, cost));
    }
    row.cells.insert("exponent", exponent(&points));
    let steepest = points.windows(2).map(exponent).fold(f64::MIN, f64::max);
    row.cells.insert("steepest", steepest);
    Ok(row)
}

/// The helper: prepares a case, and does it for so many passes, or for so many milliseconds. Prints the median time in
/// nanoseconds.
pub fn run(name: &str, size: &str, passes: &str) -> anyhow::Result<()> {
    let case = CASES
        .iter()
        .find(|case| case.name == name)
        .context("no such case")?;
    let mut work = (case.prepare)(size.parse()?)?;
    let (passes, limit) = match passes.strip_suffix("ms") {
        Some(time) => (usize::MAX, Duration::from_millis(time.parse()?)),
        None => (passes.parse()?, Duration::MAX),
    };
    let start = Instant::now();
    let mut samples = Vec::with_capacity(1_000);
    while samples.len() < passes && (samples.len() < 3 || start.elapsed() < limit) {
        let begin = Instant::now();
        let done = std::hint::black_box(work());
        samples.push(begin.elapsed().as_secs_f64() * 1e9);
        ensure!(done > 0, "nothing was done");
    }
    println!("{}", median(&samples));
    Ok(())
}

/// Microseconds.
fn time_of(case: &Case, size: usize, options: &Options) -> anyhow::Result<f64> {
    let limit = format!("{}ms", options.time(500, 100, 20).as_millis());
    let done = itself(&[], case, size, &limit)?;
    let text = String::from_utf8(done.stdout)?;
    Ok(text.trim().parse::<f64>().context("the helper's figure")? / 1e3)
}

fn instructions_of(case: &Case, size: usize) -> anyhow::Result<f64> {
    let valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
    // At once: the counts do not mind.
    let counts = std::thread::scope(|scope| {
        let runs = ["1", "2"].map(|passes| scope.spawn(move || itself(&valgrind, case, size, passes)));
        runs.map(|run| {
            run.join()
                .expect("no panic")
                .and_then(|done| collected(&done.stderr))
        })
    });
    let [once, twice] = counts;
    Ok(twice? - once?)
}

/// The line `==PID== Collected : N`.
fn collected(said: &[u8]) -> anyhow::Result<f64> {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().find_map(|line| line.split_once("Collected :"));
    let Some((_, count)) = line else {
        bail!("valgrind counts nothing: {text}");
    };
    Ok(count.trim().parse()?)
}

fn installed() -> bool {
    let asked = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

fn itself(before: &[&str], case: &Case, size: usize, passes: &str) -> anyhow::Result<std::process::Output> {
    let own = std::env::current_exe()?;
    let own = own.to_str().context("a path in UTF-8")?;
    let size = size.to_string();
    let line = [before, &[own, helper::FLAG, NAME, case.name, &size, passes]].concat();
    let done = Command::new(line[0]).args(&line[1..]).output()?;
    ensure!(
        done.status.success(),
        "{line:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(done)
}
