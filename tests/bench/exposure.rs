//! From listen() in the VM until a client on the network gets through, and from close() until it is refused.
//!
//! The client tries again and again, with a pause that is small against what is measured, and each trial has a port and a
//! moment of its own: a moment at random, since whoever looks once a second is fast for those who come just before. What
//! answers must be the listener itself, and what is closed must refuse.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::clock;
use crate::e2e::{NetNs, Rig, WINDOWS, World};
use crate::helper::{control::Remote, listener};
use crate::options::Options;
use crate::pasta::Guest;
use crate::report::{Row, Section, column};
use crate::statistics::quantile;

/// Trials begin at this port, below those of clients.
const FIRST_PORT: u16 = 10_000;
/// Nothing takes this long.
const DEADLINE: Duration = Duration::from_secs(20);

/// The columns, with the part of the samples that each stands for.
const REACHABLE: [(&str, f64); 4] = [
    ("reachable_p50", 0.5),
    ("reachable_p95", 0.95),
    ("reachable_p99", 0.99),
    ("reachable_max", 1.0),
];
const REFUSED: [(&str, f64); 4] = [
    ("refused_p50", 0.5),
    ("refused_p95", 0.95),
    ("refused_p99", 0.99),
    ("refused_max", 1.0),
];

/// Who looks, from where, and how.
#[derive(Debug, Clone)]
pub struct Judge {
    net: Arc<NetNs>,
    address: IpAddr,
    /// Between two attempts.
    pause: Duration,
    /// How long a connection that was taken may be silent before another attempt is made.
    patience: Duration,
    /// Each trial begins at a moment within this time.
    spread: Duration,
}

/// One trial, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// From listen() to reachable.
    pub reachable: f64,
    /// From close() to refused.
    pub refused: f64,
}

/// Measures this part.
pub fn measure(options: &Options) -> anyhow::Result<Section> {
    let world = World::new();
    let trials = options.by_form(200, 40, 5);
    let mut rows = vec![ours(&world, trials)?];
    if !options.smoke {
        rows.push(pasta(&world, trials).unwrap_or_else(|error| Row {
            subject: "pasta".to_owned(),
            topology: TAP.to_owned(),
            note: Some(format!("{error:#}")),
            ..Row::default()
        }));
    }
    Ok(Section {
        key: "exposure",
        title: "listen() to reachable, close() to refused".to_owned(),
        how: format!(
            "{trials} trials each, every one at a port of its own and at a moment at random. A client on the local network \
             tries until the listener itself answers, then until it is refused. wslnet: one after the other, tried \
             every 0.1 ms; pasta: {AT_ONCE} at a time, tried every 2 ms."
        ),
        columns: vec![
            column("reachable_p50", "reachable p50, ms", 2),
            column("reachable_p95", "p95", 2),
            column("reachable_p99", "p99", 2),
            column("reachable_max", "max", 2),
            column("refused_p50", "refused p50, ms", 2),
            column("refused_p95", "p95", 2),
            column("refused_p99", "p99", 2),
            column("refused_max", "max", 2),
        ],
        rows,
    })
}

/// How pasta's clients come.
const TAP: &str = "lan → win (pasta, tap) → guest";
/// It takes seconds for a trial, so it has several at a time; what it looks at is always all of it.
const AT_ONCE: usize = 10;

fn ours(world: &World, trials: usize) -> anyhow::Result<Row> {
    let rig = Rig::connected(world);
    let judge = Judge::of_ours(world);
    let (_helper, mut remote) = Remote::start(world, &rig.distro.machine, listener::NAME)?;
    // The first one finds cold caches, in a program that runs for months.
    judge.trial(&mut remote, FIRST_PORT, 0)?;
    let mut done = Vec::new();
    for trial in 1..=trials {
        let port = FIRST_PORT + u16::try_from(trial)?;
        done.push(judge.trial(&mut remote, port, trial as u64)?);
    }
    Ok(row("wslnet", "lan → win (companion) → vm", &done))
}

fn pasta(world: &World, trials: usize) -> anyhow::Result<Row> {
    let guest = Guest::new(world)?;
    let _pasta = guest.start(world)?;
    let judge = Judge {
        net: Arc::clone(&world.client.net),
        address: WINDOWS.parse()?,
        pause: Duration::from_millis(2),
        // It takes connections for listeners that have just gone, and lets them wait.
        patience: Duration::from_millis(100),
        spread: Duration::from_secs(1),
    };
    let helpers: Result<Vec<_>, _> = (0..AT_ONCE)
        .map(|_| Remote::start(world, &guest.machine, listener::NAME))
        .collect();
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> = helpers?
            .into_iter()
            .enumerate()
            .map(|(worker, (helper, mut remote))| {
                let judge = &judge;
                scope.spawn(move || {
                    let _helper = helper;
                    (worker..trials)
                        .step_by(AT_ONCE)
                        .map(|trial| judge.trial(&mut remote, FIRST_PORT + trial as u16, trial as u64))
                        .collect::<anyhow::Result<Vec<Trial>>>()
                })
            })
            .collect();
        let mut done = Vec::new();
        for worker in workers {
            done.extend(worker.join().expect("no panic")?);
        }
        anyhow::Ok(done)
    })?;
    Ok(row("pasta", TAP, &done))
}

impl Judge {
    /// Looks at what takes milliseconds, from the local network.
    pub fn of_ours(world: &World) -> Self {
        Self {
            net: Arc::clone(&world.client.net),
            address: WINDOWS.parse().expect("an address"),
            pause: Duration::from_micros(100),
            patience: Duration::from_secs(2),
            spread: Duration::from_millis(100),
        }
    }

    /// Has a listener opened at `port` and closed again, each at a moment that `seed` chooses.
    pub fn trial(&self, remote: &mut Remote, port: u16, seed: u64) -> anyhow::Result<Trial> {
        let address = SocketAddr::new(self.address, port);
        self.net.enter(|| {
            self.must_refuse(address).context("before anybody listens")?;
            std::thread::sleep(self.moment(seed));
            let [before, _] = remote.ask(&format!("open {port}"))?[..] else {
                bail!("not two moments");
            };
            let open = self.until(address, Seen::Answered)?;
            std::thread::sleep(self.moment(seed.wrapping_add(1)));
            let [closing, _] = remote.ask(&format!("close {port}"))?[..] else {
                bail!("not two moments");
            };
            let refused = self.until(address, Seen::Refused)?;
            for _ in 0..3 {
                self.must_refuse(address).context("after it was closed")?;
            }
            let milliseconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
            Ok(Trial {
                reachable: milliseconds(before, open),
                refused: milliseconds(closing, refused),
            })
        })
    }

    fn must_refuse(&self, address: SocketAddr) -> anyhow::Result<()> {
        let (seen, _) = self.look(address)?;
        ensure!(seen == Seen::Refused, "{address} is not closed: {seen:?}");
        Ok(())
    }

    /// Tries until the port is as wanted, and tells when it was known.
    fn until(&self, address: SocketAddr, wanted: Seen) -> anyhow::Result<u64> {
        let start = clock::now();
        loop {
            let (seen, at) = self.look(address)?;
            if seen == wanted {
                return Ok(at);
            }
            if Duration::from_nanos(clock::now() - start) > DEADLINE {
                bail!(
                    "after {DEADLINE:?} {address} is not yet as it should be: {wanted:?}, and not {seen:?}"
                );
            }
            std::thread::sleep(self.pause);
        }
    }

    /// Connects once. Tells what came of it, and when the connection was there or refused.
    fn look(&self, address: SocketAddr) -> anyhow::Result<(Seen, u64)> {
        let connected = TcpStream::connect_timeout(&address, Duration::from_secs(2));
        let at = clock::now();
        let mut stream = match connected {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok((Seen::Refused, at)),
            // Accepted, and ended before the system said so.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return Ok((Seen::Neither, at));
            }
            Err(error) => return Err(error).context("neither open nor refused"),
        };
        stream.set_read_timeout(Some(self.patience))?;
        let mut greeting = [0; listener::GREETING.len()];
        match stream
            .write_all(b"?")
            .and_then(|()| stream.read_exact(&mut greeting))
        {
            Ok(()) => {
                ensure!(greeting == listener::GREETING, "somebody else answered");
                Ok((Seen::Answered, at))
            }
            Err(error) if NO_ANSWER.contains(&error.kind()) => Ok((Seen::Neither, at)),
            Err(error) => Err(error).context("it took the connection"),
        }
    }

    /// A part of the spread, at random enough.
    fn moment(&self, seed: u64) -> Duration {
        let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        self.spread.mul_f64(mixed as f64 / f64::from(u32::MAX))
    }
}

/// What one attempt saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The listener itself answered.
    Answered,
    /// Nobody takes the connection.
    Refused,
    /// Somebody took the connection and did not bring it to the listener: a relay that opens or closes.
    Neither,
}

/// How a connection ends that a relay took in vain; the last one is silence.
const NO_ANSWER: [ErrorKind; 4] = [
    ErrorKind::BrokenPipe,
    ErrorKind::UnexpectedEof,
    ErrorKind::ConnectionReset,
    ErrorKind::WouldBlock,
];

fn row(subject: &str, topology: &str, trials: &[Trial]) -> Row {
    let reachable: Vec<f64> = trials.iter().map(|trial| trial.reachable).collect();
    let refused: Vec<f64> = trials.iter().map(|trial| trial.refused).collect();
    let of = |columns: [(&'static str, f64); 4], samples: &[f64]| {
        columns.map(|(column, part)| (column, quantile(samples, part)))
    };
    Row {
        subject: subject.to_owned(),
        topology: topology.to_owned(),
        cells: of(REACHABLE, &reachable)
            .into_iter()
            .chain(of(REFUSED, &refused))
            .collect(),
        note: None,
        samples: [("reachable", reachable), ("refused", refused)].into(),
    }
}
