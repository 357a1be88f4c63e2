//! The machine on which this runs: what it is, and what it lets us have.

use std::fs;

use anyhow::{Context, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;

/// What a figure depends on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor, as it calls itself.
    pub cpu: String,
    /// How many cores the scheduler has.
    pub cores: usize,
    /// Main memory, in GiB.
    pub memory_gib: f64,
    /// The kernel's release.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// The load of the last minute before the run, and at its end.
    pub load: Vec<f64>,
}

impl Machine {
    /// This machine, now.
    pub fn describe() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, key: &str, separator: char| {
            let line = text.lines().find(|line| line.starts_with(key));
            let value =
                line.and_then(|line| Some(line.split_once(separator)?.1.trim().trim_matches('"').to_owned()));
            value.unwrap_or_else(|| "unknown".to_owned())
        };
        let kilobytes = field(&read("/proc/meminfo"), "MemTotal", ':');
        let kilobytes = kilobytes.trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0);
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name", ':'),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (kilobytes / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: field(&read("/etc/os-release"), "PRETTY_NAME", '='),
            load: vec![load()],
        }
    }
}

/// The load of the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .unwrap_or(0.0)
}

/// The day, as the machine knows it.
pub fn day() -> String {
    let said = std::process::Command::new("date").args(["-u", "+%F"]).output();
    said.map_or_else(
        |_| "unknown".to_owned(),
        |said| String::from_utf8_lossy(&said.stdout).trim().to_owned(),
    )
}

/// How much memory a process holds, in KiB.
pub fn resident(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    number.expect("a kernel that counts memory")
}

/// Takes as many open files as the system lets us have. Returns how many that is.
pub fn raise_limits() -> u64 {
    let wanted = 1 << 20;
    // Above the hard limit only with CAP_SYS_RESOURCE.
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_err() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
    }
    getrlimit(Resource::RLIMIT_NOFILE).expect("a limit").0
}

/// What is mounted from now on is mounted for this process and its children only, and goes when they end. While there is
/// one thread only.
pub fn keep_mounts_private() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("no mounts of our own")?;
    let done = std::process::Command::new("mount")
        .args(["--make-rprivate", "/"])
        .status();
    ensure!(
        done.context("cannot run mount")?.success(),
        "cannot keep mounts private"
    );
    Ok(())
}
