//! What more listeners cost: until all are reachable, in processor time, in memory, and for the one that comes next.

use std::time::Duration;

use anyhow::ensure;

use crate::clock;
use crate::e2e::{Rig, World};
use crate::exposure::Judge;
use crate::helper::{control::Remote, farm, listener};
use crate::machine::resident;
use crate::options::Options;
use crate::probe;
use crate::report::{Row, Section, column};
use crate::statistics::{exponent, median};

const FIRST_PORT: u16 = 15_000;
/// The most that one distro may have.
const MOST: u16 = 4_096;

/// Measures this part.
pub fn measure(options: &Options) -> anyhow::Result<Section> {
    let levels = options.by_form(&[10, 100, 1_000, 10_000][..], &[10, 100, 1_000], &[5, 50]);
    let rows: anyhow::Result<Vec<Row>> = levels.iter().map(|level| level_of(*level, options)).collect();
    let mut rows = rows?;
    let costs: Vec<(f64, f64)> = levels
        .iter()
        .zip(&rows)
        .map(|(level, row)| (f64::from(*level), row.cells["cpu"]))
        .collect();
    if let Some(last) = rows.last_mut() {
        let steepest = costs.windows(2).map(exponent).fold(f64::MIN, f64::max);
        last.cells.insert("exponent", exponent(&costs));
        last.cells.insert("steepest", steepest);
        last.note = Some(format!(
            "processor time grows as listeners^{:.2}, and as ^{steepest:.2} in the steepest step (1 is linear)",
            exponent(&costs)
        ));
    }
    Ok(Section {
        key: "growth",
        title: "Growth with listeners".to_owned(),
        how: format!(
            "All are opened at once. Until all answer a client on the local network; processor time of both programs from the \
             first listen() until {} s after that; memory; then one more: its time from listen() to reachable. \
             Of 10,000 the lowest {MOST} are exposed, for no distro may have more; the others are over-limit.",
            settle(options).as_secs_f64()
        ),
        columns: vec![
            column("all", "all reachable, ms", 1),
            column("each", "a listener, ms", 3),
            column("cpu", "CPU, ms", 1),
            column("daemon_rss", "wslnetd, MiB", 1),
            column("companion_rss", "companion, MiB", 1),
            column("next", "one more p50, ms", 2),
        ],
        rows,
    })
}

/// How long what follows from a change still counts.
fn settle(options: &Options) -> Duration {
    options.time(3_000, 1_000, 200)
}

fn level_of(count: u16, options: &Options) -> anyhow::Result<Row> {
    let world = World::new();
    let mut rig = Rig::new(&world);
    rig.companion.place.configure(&format!("max-forwards = {MOST}\n"));
    rig.companion.start();
    rig.distro.start_connected();
    let pids = [rig.distro.daemon().pid(), rig.companion.program().pid()];
    let used = || pids.iter().map(|pid| clock::cpu_of(*pid)).sum::<Duration>();
    let (_farm, mut remote) = Remote::start(&world, &rig.distro.machine, farm::NAME)?;
    let (_more, mut more) = Remote::start(&world, &rig.distro.machine, listener::NAME)?;

    let before = used();
    let opened = remote.ask(&format!("open {FIRST_PORT} {count}"))?;
    let exposed = count.min(MOST);
    let all = probe::all_reachable(&world.client.net, FIRST_PORT, exposed)?;
    if count > MOST {
        ensure!(
            probe::refuses(&world.client.net, FIRST_PORT + MOST),
            "more than {MOST} are exposed"
        );
    }
    std::thread::sleep(settle(options));
    let cpu = (used() - before).as_secs_f64() * 1e3;

    let judge = Judge::of_ours(&world);
    // At lower ports, which come first where there are too many.
    let trials: anyhow::Result<Vec<f64>> = (1..=options.by_form(20, 5, 2))
        .map(|trial| {
            Ok(judge
                .trial(&mut more, FIRST_PORT - trial, trial.into())?
                .reachable)
        })
        .collect();
    let trials = trials?;
    let milliseconds = all.saturating_sub(opened[0]) as f64 / 1e6;
    Ok(Row {
        subject: format!("{count} listeners"),
        topology: "lan → win (companion) → vm".to_owned(),
        cells: [
            ("all", milliseconds),
            ("each", milliseconds / f64::from(exposed)),
            ("cpu", cpu),
            ("daemon_rss", resident(pids[0]) / 1024.0),
            ("companion_rss", resident(pids[1]) / 1024.0),
            ("next", median(&trials)),
        ]
        .into(),
        note: None,
        samples: [("next", trials)].into(),
    })
}
