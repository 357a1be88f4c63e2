//! Which networking mode WSL runs this VM in.
//!
//! The mode decides what is right to do, so it is asked of WSL and never guessed. It is fixed for the life of the VM:
//! a clear answer is asked for once. WSL may take its time, so looking around ([`detect`]) and asking it ([`Inquiry`])
//! are two steps, and only the second blocks.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use wslnet_console::text::clean;

/// The longest answer that is accepted from wslinfo, in bytes. A mode is one word.
const ANSWER_LIMIT: u64 = 256;
/// How much of what wslinfo complains about is read, in bytes.
const COMPLAINT_LIMIT: u64 = 4096;
/// How much of that is shown, in characters.
const COMPLAINT_CHARS: usize = 200;
/// How long to wait for complaints after the program's end; something else may still hold its stderr open.
const COMPLAINT_TIME: Duration = Duration::from_millis(100);

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

/// What can be known of the mode without waiting for anybody.
#[derive(Clone, Debug)]
pub enum Detection {
    /// The mode.
    Known(Detected),
    /// Only WSL knows it.
    Ask(Inquiry),
}

/// Not WSL, so nobody can be asked, and the configuration names no mode.
#[derive(Debug, thiserror::Error)]
#[error(
    "this is not WSL, so the networking mode is not known: set network-mode = \"nat\" in the configuration"
)]
pub struct NotConfigured;

/// WSL gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ModeError {
    /// wslinfo could not be started or read.
    #[error("cannot run {} --networking-mode", .program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// wslinfo did not answer in time and was killed.
    #[error("{} --networking-mode did not answer within {limit:?}{}", .program.display(), after(.complaint))]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// How long it had.
        limit: Duration,
        /// The last line of its stderr, safe to show; may be empty.
        complaint: String,
    },
    /// wslinfo said that it failed.
    #[error("{} --networking-mode failed: {status}{}", .program.display(), after(.complaint))]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The last line of its stderr, safe to show; may be empty.
        complaint: String,
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

/// Finds out the mode of this machine, as far as that needs no waiting. `configured` is the value of `network-mode`;
/// under WSL it is ignored.
///
/// # Errors
/// Outside WSL when nothing is configured.
pub fn detect(configured: Option<&str>) -> Result<Detection, NotConfigured> {
    Probe::default().detect(configured)
}

impl Probe {
    /// As [`detect`], at this probe's places.
    ///
    /// # Errors
    /// As [`detect`].
    pub fn detect(&self, configured: Option<&str>) -> Result<Detection, NotConfigured> {
        if !self.is_wsl() {
            let Ok(mode) = configured.ok_or(NotConfigured)?.parse();
            let source = "network-mode in the configuration".to_owned();
            return Ok(Detection::Known(Detected {
                mode,
                source,
                ignored: None,
            }));
        }
        let ignored = configured.map(str::to_owned);
        let Some(wslinfo) = self.wslinfo.iter().find(|path| path.exists()) else {
            // WSL versions without wslinfo know no other mode.
            let source = "no wslinfo, so this WSL is older than the other modes".to_owned();
            return Ok(Detection::Known(Detected {
                mode: NetworkMode::Nat,
                source,
                ignored,
            }));
        };
        Ok(Detection::Ask(Inquiry {
            program: wslinfo.clone(),
            limit: self.limit,
            ignored,
        }))
    }

    fn is_wsl(&self) -> bool {
        let release = fs::read(&self.osrelease).unwrap_or_default();
        String::from_utf8_lossy(&release)
            .to_ascii_lowercase()
            .contains("microsoft")
            || self.run_wsl.exists()
    }
}

/// A question to WSL.
#[derive(Clone, Debug)]
pub struct Inquiry {
    program: PathBuf,
    limit: Duration,
    ignored: Option<String>,
}

impl Inquiry {
    /// Asks wslinfo. Blocks for as long as that takes, at most for a little more than the probe's limit.
    ///
    /// # Errors
    /// When wslinfo gives no answer.
    pub fn ask(&self) -> Result<Detected, ModeError> {
        let program = || self.program.clone();
        let failed = |source| ModeError::Run {
            program: program(),
            source,
        };
        let mut child = Command::new(&self.program)
            .arg("--networking-mode")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let deadline = Instant::now() + self.limit;
        let heard = listen(child.stdout.take(), ANSWER_LIMIT).and_then(|answer| {
            let complaint = listen(child.stderr.take(), COMPLAINT_LIMIT)?;
            Ok((answer.recv_timeout(self.limit), complaint))
        });
        let status = end(&mut child, deadline).map_err(failed)?;
        let (answer, complaint) = heard.map_err(failed)?;
        let complaint = || last_line(&complaint);
        let (Ok(answer), Some(status)) = (answer, status) else {
            return Err(ModeError::TimedOut {
                program: program(),
                limit: self.limit,
                complaint: complaint(),
            });
        };
        let answer = answer.map_err(failed)?;
        if !status.success() {
            return Err(ModeError::Failed {
                program: program(),
                status,
                complaint: complaint(),
            });
        }
        let word = str::from_utf8(&answer).map(str::trim).unwrap_or_default();
        if word.is_empty() || answer.len() as u64 > ANSWER_LIMIT {
            return Err(ModeError::Answer { program: program() });
        }
        let Ok(mode) = word.parse();
        Ok(Detected {
            mode,
            source: format!("{} --networking-mode", self.program.display()),
            ignored: self.ignored.clone(),
        })
    }
}

/// What the program says there until it closes it, and at most one byte more than `limit`. The reading thread ends with
/// the program.
fn listen(pipe: Option<impl Read + Send + 'static>, limit: u64) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let pipe = pipe.ok_or(io::ErrorKind::BrokenPipe)?;
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("wslinfo".to_owned()).spawn(move || {
        let mut said = Vec::new();
        let read = pipe.take(limit + 1).read_to_end(&mut said);
        // Nobody waits any more when time was up.
        let _ = sender.send(read.map(|_| said));
    })?;
    Ok(receiver)
}

fn last_line(complaint: &Receiver<io::Result<Vec<u8>>>) -> String {
    let Ok(Ok(said)) = complaint.recv_timeout(COMPLAINT_TIME) else {
        return String::new();
    };
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    clean(line.unwrap_or_default(), COMPLAINT_CHARS)
}

/// A complaint as it follows a message.
fn after(complaint: &str) -> String {
    if complaint.is_empty() {
        String::new()
    } else {
        format!(": {complaint}")
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

#[cfg(test)]
mod tests;
