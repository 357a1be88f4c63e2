//! What goes through the relay: bytes, requests, new connections; against no relay, and against other programs.
//!
//! In each round every subject has its turn: it is started, bytes are compared in both directions, it is measured, and it
//! is stopped. Each round begins with another one. A figure is the median of the rounds; a ratio is the median of the
//! ratios to the direct way within a round, so that a machine that gets slower in between does not count.

mod load;
mod peers;
mod stage;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;

use self::load::Load;
use self::stage::{Stage, Subject};
use crate::helper::service;
use crate::options::Options;
use crate::report::{Row, Section, column};
use crate::statistics::{median, quantile};

/// The columns that other parts of the bench ask for.
pub const ONE: &str = "stream_1";
pub const MANY: &str = "stream_32";
pub const CONNECTIONS: &str = "connections";

/// Which figures are related to those of the direct way, and under which keys the ratios stand.
const RATIOS: [(&str, &str); 3] = [
    (ONE, "stream_1_ratio"),
    (MANY, "stream_32_ratio"),
    (CONNECTIONS, "connections_ratio"),
];

/// How many connections download at once.
const STREAMS: usize = 32;

/// A program that failed in so many rounds has no more turns: each may take until something counts as stalled.
const FAILURES: usize = 2;

/// Measures this part.
pub fn measure(options: &Options) -> anyhow::Result<Section> {
    let noise = service::noise();
    let world = crate::e2e::World::new();
    let mut stage = Stage::new(&world);
    let (subjects, mut rows) = stage.subjects(options);
    let rounds = options.rounds.unwrap_or(options.by_form(5, 1, 1));
    let mut samples: BTreeMap<usize, Rounds> = BTreeMap::new();
    let mut failures: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let index = (round + turn) % subjects.len();
            if failures.get(&index).map_or(0, Vec::len) >= FAILURES {
                continue;
            }
            let subject = &subjects[index];
            let figures = turn_of(&mut stage, subject, options, &noise)
                .with_context(|| format!("{} in round {}", subject.name(), round + 1));
            match figures {
                Ok(figures) => drop(samples.entry(index).or_default().insert(round, figures)),
                // That ours works is what the others are compared with.
                Err(error) if subject.is_needed() => return Err(error),
                Err(error) => failures.entry(index).or_default().push(format!("{error:#}")),
            }
        }
    }
    let direct = samples
        .get(&0)
        .context("the direct way is always measured")?
        .clone();
    let measured = subjects.iter().enumerate().map(|(index, subject)| {
        let mut row = row(subject, samples.get(&index).unwrap_or(&Rounds::new()), &direct);
        row.note = failures.get(&index).map(|failures| failures.join("; "));
        row
    });
    let mut all: Vec<Row> = measured.collect();
    all.append(&mut rows);
    Ok(Section {
        key: "relay",
        title: "What goes through".to_owned(),
        how: format!(
            "Client, relay and service share the cores of one machine. Medians of {rounds} interleaved rounds; ratios to \
             direct within each round. Round trip: {} bytes there and back; new connections: one question and one \
             answer each, {} at a time.",
            service::MESSAGE,
            load::CALLERS
        ),
        columns: vec![
            column(ONE, "1 stream, Gbit/s", 2),
            column("stream_1_ratio", "ratio", 2),
            column(MANY, "32 streams, Gbit/s", 2),
            column("stream_32_ratio", "ratio", 2),
            column("round_trip_p50", "round trip p50, µs", 0),
            column("round_trip_p99", "p99, µs", 0),
            column(CONNECTIONS, "new connections/s", 0),
            column("connections_ratio", "ratio", 2),
            column("connection_p50", "p50, µs", 0),
            column("connection_p99", "p99, µs", 0),
        ],
        rows: all,
    })
}

/// What one turn yields, by column.
type Figures = BTreeMap<&'static str, f64>;

/// What the turns of one subject have yielded, by the rounds in which it did not fail.
type Rounds = BTreeMap<usize, Figures>;

fn turn_of(
    stage: &mut Stage<'_>,
    subject: &Subject,
    options: &Options,
    noise: &[u8],
) -> anyhow::Result<Figures> {
    let running = stage.start(subject)?;
    let load = Load {
        address: SocketAddr::new(running.address, running.port),
        noise,
    };
    let time = options.time(1_500, 500, 100);
    let small = options.time(1_000, 400, 100);
    let figures = running.client.enter(|| {
        until_answers(&load)?;
        load.compare()?;
        let mut figures = Figures::new();
        let gigabits = |bytes: f64| bytes * 8.0 / 1e9;
        figures.insert(ONE, gigabits(load.throughput(1, time)?));
        figures.insert(MANY, gigabits(load.throughput(STREAMS, time)?));
        let took = load.round_trips(small)?;
        figures.insert("round_trip_p50", quantile(&took, 0.5));
        figures.insert("round_trip_p99", quantile(&took, 0.99));
        let (rate, took) = load.new_connections(time)?;
        figures.insert(CONNECTIONS, rate);
        figures.insert("connection_p50", quantile(&took, 0.5));
        figures.insert("connection_p99", quantile(&took, 0.99));
        anyhow::Ok(figures)
    })?;
    stage.stop(running);
    Ok(figures)
}

fn until_answers(load: &Load<'_>) -> anyhow::Result<()> {
    let start = std::time::Instant::now();
    loop {
        match load.answers(7) {
            Ok(()) => return Ok(()),
            Err(error) if start.elapsed() > Duration::from_secs(10) => {
                return Err(error).context("it does not answer");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn row(subject: &Subject, rounds: &Rounds, direct: &Rounds) -> Row {
    let mut samples: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (round, figures) in rounds {
        // The direct way fails in no round: its failure ends the run.
        let direct = &direct[round];
        for (column, figure) in figures {
            samples.entry(column).or_default().push(*figure);
        }
        for (column, ratio) in RATIOS {
            samples
                .entry(ratio)
                .or_default()
                .push(figures[column] / direct[column]);
        }
    }
    Row {
        subject: subject.name().to_owned(),
        topology: subject.topology().to_owned(),
        cells: samples
            .iter()
            .map(|(column, samples)| (*column, median(samples)))
            .collect(),
        note: None,
        samples,
    }
}
