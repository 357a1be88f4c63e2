//! A distro whose first process is a real systemd, with the project's unit installed in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::machine::RUN_SECONDS;
use super::wait::{check, eventually};
use super::{Machine, Ran, World, require_program};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wslnetd");
const SCRIPT: &str = include_str!("systemd.sh");
const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");
const INTEROP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/bench/wsl");
const BOOT: Duration = Duration::from_secs(60);

/// A distro under systemd.
#[derive(Debug)]
pub struct SystemdDistro {
    machine: Machine,
    room: PathBuf,
    group: String,
}

impl SystemdDistro {
    /// Boots one. The unit is installed, and not started.
    pub fn boot(world: &World, config: &str) -> Self {
        let room = world.new_folder("systemd");
        std::fs::write(room.with_extension("toml"), config).expect("write the config");
        let distro = Self::boot_in(world, &room, &[]);
        distro.run(&["systemd-sysusers"]).ok();
        distro.run(&["systemd-tmpfiles", "--create"]);
        distro
    }

    /// Boots one as WSL has it, in which nothing of the project is. `run` becomes its /run/WSL, by which the daemon knows WSL; `folders` are
    /// folders of this machine and their places in it.
    pub fn bare(world: &World, run: &Path, folders: &[(&Path, &str)]) -> Self {
        let room = world.new_folder("systemd");
        Self::boot_in(world, &room, &[folders, &[(run, "/run/WSL")]].concat())
    }

    fn boot_in(world: &World, room: &Path, folders: &[(&Path, &str)]) -> Self {
        require_program("systemd-nspawn", "systemd-container");
        let binds: Vec<String> = folders
            .iter()
            .map(|(from, to)| format!("--bind={}:{to}", from.display()))
            .collect();
        let group = format!("wslnet-e2e-{}-{}", std::process::id(), unique());
        let before = format!(
            "ROOM={} UNITS={UNITS} PROGRAM={PROGRAM} GROUP={group} INTEROP={INTEROP} BINDS='{}' LOG={}\n{SCRIPT}",
            room.display(),
            binds.join(" "),
            world.logs().join("systemd-nspawn.log").display()
        );
        let machine = Machine::new(world.vm.clone(), &world.logs(), &before);
        let room = room.to_owned();
        let distro = Self { machine, room, group };
        eventually(BOOT, || {
            let seen = distro.run(&["systemctl", "is-system-running"]);
            let up = matches!(seen.stdout.trim(), "running" | "degraded");
            check(up, || format!("{seen:?}"))
        });
        distro
    }

    /// Runs a program inside.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_within(RUN_SECONDS, args)
    }

    /// The same, with a time of its own in seconds.
    pub fn run_within(&self, seconds: u32, args: &[&str]) -> Ran {
        // The first process that systemd-nspawn starts is only a step on the way: look again each time.
        let nspawn = children(self.machine.init()).first().copied();
        let leader = nspawn.and_then(|nspawn| children(nspawn).first().copied());
        let leader = leader.unwrap_or_default().to_string();
        let enter = [
            "nsenter", "-t", &leader, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--",
        ];
        self.machine.run_outside(seconds, &[&enter, args].concat())
    }

    /// `systemctl ARGS`.
    pub fn systemctl(&self, args: &[&str]) -> Ran {
        self.run(&[&["systemctl", "--no-pager"], args].concat())
    }

    /// One property of the unit.
    pub fn property(&self, name: &str) -> String {
        let name = format!("--property={name}");
        let shown = self
            .systemctl(&["show", "--value", &name, "wslnetd.service"])
            .ok();
        shown.trim().to_owned()
    }

    /// Starts a program as a transient unit; it ends with the distro.
    pub fn start(&self, unit: &str, args: &[&str]) {
        let unit = format!("--unit={unit}");
        self.run(&[&["systemd-run", "--quiet", &unit], args].concat())
            .ok();
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        let folder = Path::new(path)
            .parent()
            .expect("an absolute path")
            .display()
            .to_string();
        let script = "mkdir -p \"$0\" && printf %s \"$2\" >\"$1\"";
        self.run(&["/bin/sh", "-c", script, &folder, path, text]).ok();
    }

    /// `wslnetd status`, asked as a user without rights.
    pub fn status(&self) -> Result<Value, String> {
        let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        self.run(&[&nobody[..], &["wslnetd", "status", "--json"]].concat())
            .json()
    }

    /// The paths of its disk that are not as in a new distro: files that came, changed or went, and folders that came.
    pub fn changed_paths(&self) -> Vec<String> {
        let upper = self.room.join("upper");
        let find = [
            "find",
            &upper.display().to_string(),
            "-mindepth",
            "1",
            "-printf",
            "%y/%P\n",
        ];
        let found = self.machine.run(&find).ok();
        let lines = found.lines().filter_map(|line| line.split_at_checked(1));
        // A folder of this machine is there for what is in it.
        let is_news = |(kind, path): &(&str, &str)| *kind != "d" || !Path::new(path).is_dir();
        lines.filter(is_news).map(|(_, path)| path.to_owned()).collect()
    }

    /// The journal of the unit.
    pub fn journal(&self) -> String {
        let ran = self.run(&[
            "journalctl",
            "--no-pager",
            "--output=cat",
            "--unit=wslnetd.service",
        ]);
        ran.stdout
    }
}

impl Drop for SystemdDistro {
    #[expect(clippy::print_stderr, reason = "the only voice of a failing test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- journal of wslnetd.service\n{}", self.journal());
        }
        let folder = format!("/sys/fs/cgroup/{}", self.group);
        let remove = "echo 1 >\"$0/cgroup.kill\"; for i in $(seq 50); do \
                      find \"$0\" -depth -type d -exec rmdir {} + 2>/dev/null; [ -d \"$0\" ] || exit 0; sleep 0.1; done";
        self.machine.run(&["/bin/sh", "-c", remove, &folder]);
    }
}

fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
