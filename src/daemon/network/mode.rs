//! Which networking mode WSL runs this VM in.
//!
//! The mode decides what is right to do, so it is asked of WSL and never guessed. It is fixed for the life of the VM:
//! asking once at start is enough.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The longest answer that is accepted from wslinfo, in bytes. A mode is one word.
const ANSWER_LIMIT: u64 = 256;

/// How WSL connects the VM to the network (`networkingMode` in `.wslconfig`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkMode {
    /// The default: the VM has its own address behind Windows.
    Nat,
    /// Windows and the VM share addresses and ports.
    Mirrored,
    /// Windows carries the VM's connections. Called `consomme` since WSL 2.9.
    VirtioProxy,
    /// The VM is on a Hyper-V switch.
    Bridged,
    /// No network.
    None,
    /// WSL 1: no VM at all.
    Wsl1,
    /// A mode this version has not heard of.
    Unknown(String),
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nat => "nat",
            Self::Mirrored => "mirrored",
            Self::VirtioProxy => "virtioproxy",
            Self::Bridged => "bridged",
            Self::None => "none",
            Self::Wsl1 => "wsl1",
            Self::Unknown(name) => name,
        })
    }
}

impl FromStr for NetworkMode {
    type Err = std::convert::Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name.trim().to_ascii_lowercase().as_str() {
            "nat" => Self::Nat,
            "mirrored" => Self::Mirrored,
            "virtioproxy" | "consomme" => Self::VirtioProxy,
            "bridged" => Self::Bridged,
            "none" => Self::None,
            "wsl1" => Self::Wsl1,
            // Whatever it is, it may end on a terminal.
            other => Self::Unknown(other.escape_debug().take(64).collect()),
        })
    }
}

/// The mode, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The mode.
    pub mode: NetworkMode,
    /// How it was found out, for people.
    pub source: String,
    /// A configured value that was not used, because under WSL only WSL's word counts.
    pub ignored: Option<String>,
}

/// The mode is not known.
#[derive(Debug, thiserror::Error)]
pub enum ModeError {
    /// Not WSL, so nobody can be asked.
    #[error(
        "this is not WSL, so the networking mode is not known: set network-mode = \"nat\" in the configuration"
    )]
    NotConfigured,
    /// The configured value means nothing.
    #[error(
        "network-mode = {0:?} is not a networking mode: use \"nat\", \"mirrored\", \"virtioproxy\", \"bridged\" or \"none\""
    )]
    BadConfiguration(String),
    /// wslinfo could not be started or read.
    #[error("cannot run {} --networking-mode", .program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// wslinfo did not answer in time and was killed.
    #[error("{} --networking-mode did not answer within {limit:?}", .program.display())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// How long it had.
        limit: Duration,
    },
    /// wslinfo said that it failed.
    #[error("{} --networking-mode failed: {status}", .program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// The answer is not one short word.
    #[error("{} --networking-mode gave an answer that is not a mode", .program.display())]
    Answer {
        /// The program.
        program: PathBuf,
    },
}

/// Where to look. Tests look elsewhere.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Absolute paths at which wslinfo may be; the first that exists is run.
    pub wslinfo: Vec<PathBuf>,
    /// The kernel's release; under WSL it names Microsoft.
    pub osrelease: PathBuf,
    /// WSL's run-time folder; there also with a kernel of one's own.
    pub run_wsl: PathBuf,
    /// How long wslinfo may take.
    pub limit: Duration,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            wslinfo: ["/usr/bin/wslinfo", "/bin/wslinfo"].map(PathBuf::from).into(),
            osrelease: "/proc/sys/kernel/osrelease".into(),
            run_wsl: "/run/WSL".into(),
            limit: Duration::from_secs(5),
        }
    }
}

/// Finds out the mode of this machine. `configured` is the value of `network-mode`; under WSL it is ignored.
///
/// Blocks, at most for five seconds.
///
/// # Errors
/// Outside WSL when nothing (valid) is configured; under WSL when wslinfo is there but gives no answer.
pub fn detect(configured: Option<&str>) -> Result<Detected, ModeError> {
    Probe::default().detect(configured)
}

impl Probe {
    /// As [`detect`], at this probe's places.
    ///
    /// # Errors
    /// As [`detect`].
    pub fn detect(&self, configured: Option<&str>) -> Result<Detected, ModeError> {
        if !self.is_wsl() {
            return by_configuration(configured);
        }
        let ignored = configured.map(str::to_owned);
        let Some(wslinfo) = self.wslinfo.iter().find(|path| path.exists()) else {
            // WSL versions without wslinfo know no other mode.
            let source = "no wslinfo, so this WSL is older than the other modes".to_owned();
            return Ok(Detected {
                mode: NetworkMode::Nat,
                source,
                ignored,
            });
        };
        let mode = self.ask(wslinfo)?;
        Ok(Detected {
            mode,
            source: format!("{} --networking-mode", wslinfo.display()),
            ignored,
        })
    }

    fn is_wsl(&self) -> bool {
        let release = fs::read(&self.osrelease).unwrap_or_default();
        String::from_utf8_lossy(&release)
            .to_ascii_lowercase()
            .contains("microsoft")
            || self.run_wsl.exists()
    }

    fn ask(&self, program: &Path) -> Result<NetworkMode, ModeError> {
        let failed = |source| ModeError::Run {
            program: program.to_owned(),
            source,
        };
        let mut child = Command::new(program)
            .arg("--networking-mode")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let deadline = Instant::now() + self.limit;
        let answer = self.listen_to(&mut child);
        let status = end(&mut child, deadline).map_err(failed)?;
        let (Some(answer), Some(status)) = (answer.map_err(failed)?, status) else {
            return Err(ModeError::TimedOut {
                program: program.to_owned(),
                limit: self.limit,
            });
        };
        if !status.success() {
            return Err(ModeError::Failed {
                program: program.to_owned(),
                status,
            });
        }
        let word = str::from_utf8(&answer).map(str::trim).unwrap_or_default();
        if word.is_empty() || answer.len() as u64 > ANSWER_LIMIT {
            return Err(ModeError::Answer {
                program: program.to_owned(),
            });
        }
        let Ok(mode) = word.parse();
        Ok(mode)
    }

    /// What the program says until it closes its output; `None` when that takes too long. Reads one byte more than is
    /// accepted. The reading thread ends with the program.
    fn listen_to(&self, child: &mut Child) -> io::Result<Option<Vec<u8>>> {
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new().name("wslinfo".to_owned()).spawn(move || {
            let mut answer = Vec::new();
            let read = stdout.take(ANSWER_LIMIT + 1).read_to_end(&mut answer);
            // Nobody waits any more when time was up.
            let _ = sender.send(read.map(|_| answer));
        })?;
        match receiver.recv_timeout(self.limit) {
            Ok(answer) => answer.map(Some),
            Err(_) => Ok(None),
        }
    }
}

/// Waits for the program's end; after the deadline kills it and answers `None`. In every case it is gone and reaped.
fn end(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn by_configuration(configured: Option<&str>) -> Result<Detected, ModeError> {
    let name = configured.ok_or(ModeError::NotConfigured)?;
    let Ok(mode) = name.parse();
    if let NetworkMode::Unknown(_) = mode {
        return Err(ModeError::BadConfiguration(name.to_owned()));
    }
    Ok(Detected {
        mode,
        source: "network-mode in the configuration".to_owned(),
        ignored: None,
    })
}

#[cfg(test)]
mod tests;
