//! What programs cost that wait for something to happen, while the VM has many connections.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock;
use crate::e2e::{Rig, World};
use crate::helper::{self, control::Remote, crowd::Crowd, farm, poller};
use crate::options::Options;
use crate::pasta::Guest;
use crate::probe;
use crate::report::{Column, Row, Section, column};

/// How many connections, in each form of the run.
pub const LEVELS: [u64; 3] = [0, 10_000, 100_000];

/// CPU and memory, at each level.
const COLUMNS: [(&str, &str); 3] = [("cpu_0", "rss_0"), ("cpu_1", "rss_1"), ("cpu_2", "rss_2")];

/// How many listeners there are meanwhile.
const LISTENERS: u16 = 3;
const FIRST_PORT: u16 = 9_000;

/// What a process did within a time.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// In percent of a core.
    cpu: f64,
    /// In MiB.
    rss: f64,
}

/// The levels of this form of the run.
pub fn levels(options: &Options) -> &'static [u64] {
    options.by_form(&LEVELS[..], &LEVELS[..2], &[0, 100])
}

/// Measures this part.
pub fn measure(options: &Options) -> anyhow::Result<Section> {
    let levels = levels(options);
    let (mut rows, reached) = in_vm(options, levels)?;
    if !options.smoke {
        let mut row = Row {
            subject: "pasta".to_owned(),
            topology: "win (pasta) → guest".to_owned(),
            ..Row::default()
        };
        match pasta(options, levels) {
            Ok(costs) => fill(&mut row, &costs),
            Err(error) => row.note = Some(format!("{error:#}")),
        }
        rows.push(row);
    }
    let connections: Vec<String> = reached.iter().map(u64::to_string).collect();
    Ok(Section {
        key: "idle",
        title: "Idle".to_owned(),
        how: format!(
            "Processor time over {} s (percent of one core) and memory while nothing changes, with {LISTENERS} listeners and \
             {} established connections in the VM (both ends there, so twice as many sockets), {} s after the last one was made.",
            window(options).as_secs_f64(),
            connections.join(", "),
            settling(options).as_secs_f64()
        ),
        columns: columns(),
        rows,
    })
}

fn columns() -> Vec<Column> {
    vec![
        column("cpu_0", "no connections, % CPU", 3),
        column("cpu_1", "10,000: % CPU", 3),
        column("cpu_2", "100,000: % CPU", 3),
        column("rss_0", "no connections, MiB", 1),
        column("rss_1", "10,000: MiB", 1),
        column("rss_2", "100,000: MiB", 1),
    ]
}

fn window(options: &Options) -> Duration {
    options.time(12_000, 3_000, 500)
}

fn in_vm(options: &Options, levels: &[u64]) -> anyhow::Result<(Vec<Row>, Vec<u64>)> {
    let world = World::new();
    let rig = Rig::connected(&world);
    let (_farm, mut remote) = Remote::start(&world, &rig.distro.machine, farm::NAME)?;
    remote.ask(&format!("open {FIRST_PORT} {LISTENERS}"))?;
    probe::all_reachable(&world.client.net, FIRST_PORT, LISTENERS)?;
    let mut crowd = Crowd::default();
    let (mut daemon, mut companion, mut polling) = (Vec::new(), Vec::new(), Vec::new());
    let mut reached = Vec::new();
    for level in levels {
        reached.push(crowd.grow_to(&world, &rig.distro.machine, *level)?);
        let pids = [rig.distro.daemon().pid(), rig.companion.program().pid()];
        let costs = costs(&pids, options, settling(options));
        daemon.push(costs[0]);
        companion.push(costs[1]);
        // While the other two do nothing.
        let poller = helper::start(&rig.distro.machine, &[poller::NAME]);
        polling.push(self::costs(&[poller.pid()], options, Duration::ZERO)[0]);
        drop(poller);
        probe::all_reachable(&world.client.net, FIRST_PORT, LISTENERS)?;
    }
    let rows = [
        ("wslnetd", "in the VM", daemon),
        ("wslnet-companion", "on Windows", companion),
        ("poll of /proc/net/tcp", "in the VM, once a second", polling),
    ];
    let rows = rows.map(|(subject, topology, costs)| {
        let mut row = Row {
            subject: subject.to_owned(),
            topology: topology.to_owned(),
            ..Row::default()
        };
        fill(&mut row, &costs);
        row
    });
    Ok((rows.into(), reached))
}

/// In a world of its own: a look at /proc/net/tcp takes longer while connections of another one fade away.
fn pasta(options: &Options, levels: &[u64]) -> anyhow::Result<Vec<Cost>> {
    let world = World::new();
    let guest = Guest::new(&world)?;
    let pasta = guest.start(&world)?;
    let (_farm, mut remote) = Remote::start(&world, &guest.machine, farm::NAME)?;
    remote.ask(&format!("open {FIRST_PORT} {LISTENERS}"))?;
    probe::all_reachable(&world.client.net, FIRST_PORT, LISTENERS)?;
    let mut crowd = Crowd::default();
    let mut found = Vec::new();
    for level in levels {
        crowd.grow_to(&world, &guest.machine, *level)?;
        found.push(costs(&[pasta.pid()], options, settling(options))[0]);
    }
    Ok(found)
}

/// How long after the last connection was made what follows counts as idle: whoever looks at new listeners and new processes, and
/// again at those of the last seconds, does so before.
fn settling(options: &Options) -> Duration {
    options.time(20_000, 6_000, 0)
}

/// What each process does in the time after `settling`.
fn costs(pids: &[u32], options: &Options, settling: Duration) -> Vec<Cost> {
    let time = window(options);
    std::thread::sleep(settling);
    let before: Vec<Duration> = pids.iter().map(|pid| clock::cpu_of(*pid)).collect();
    std::thread::sleep(time);
    let both = pids.iter().zip(before);
    both.map(|(pid, before)| Cost {
        cpu: (clock::cpu_of(*pid) - before).as_secs_f64() / time.as_secs_f64() * 100.0,
        rss: crate::machine::resident(*pid) / 1024.0,
    })
    .collect()
}

fn fill(row: &mut Row, costs: &[Cost]) {
    let mut cells = BTreeMap::new();
    for ((cpu, rss), cost) in COLUMNS.iter().zip(costs) {
        cells.insert(*cpu, cost.cpu);
        cells.insert(*rss, cost.rss);
    }
    row.cells = cells;
}
