//! Runs wslnetd in a distro, by `wsl.exe`, which may hang, fail, or answer in another encoding.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use wslnet_console::text::clean;
use wslnet_link::Offer;

use super::system;

/// The daemon's program in every distro.
pub(super) const WSLNETD: &str = "/usr/local/bin/wslnetd";
/// How long a command may take. `wsl.exe` may have to start the virtual machine and systemd in it.
const LIMIT: Duration = Duration::from_secs(60);
/// The most that is read of each stream, in bytes.
const OUTPUT_LIMIT: u64 = 64 << 10;
/// The longest line that is shown, in characters, and how many lines.
const LINE_CHARS: usize = 400;
const LINES: usize = 8;
/// How often to look whether it has ended.
const POLL: Duration = Duration::from_millis(5);

/// `wsl.exe`, or what stands for it.
#[derive(Debug)]
pub(super) struct Wsl {
    program: PathBuf,
    limit: Duration,
}

/// What a program said until its end.
#[derive(Debug)]
pub(super) struct Said {
    status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Why a program in a distro said nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum WslError {
    /// It was not started.
    #[error("cannot run {}: is WSL installed? (`wsl --install`)", program.display())]
    Start {
        /// What was to run.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It was killed.
    #[error("{} did not end within {limit:?}: see whether `wsl -d {distro}` opens a shell; `wsl --shutdown` starts WSL anew", program.display())]
    TimedOut {
        /// What ran.
        program: PathBuf,
        /// In which distro.
        distro: String,
        /// How long it had.
        limit: Duration,
    },
    /// A pipe or a thread failed.
    #[error("lost {}", program.display())]
    Lost {
        /// What ran.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Wsl {
    /// The program at this path.
    pub(super) fn new(program: PathBuf) -> Self {
        Self {
            program,
            limit: LIMIT,
        }
    }

    /// Runs wslnetd as the distro's root with these arguments, and hands it the offer.
    ///
    /// # Errors
    /// When it cannot be run, or does not end in time; then it is killed.
    pub(super) fn run(&self, distro: &str, args: &[&str], offer: Option<&Offer>) -> Result<Said, WslError> {
        let lost = |source| WslError::Lost {
            program: self.program.clone(),
            source,
        };
        let end = Instant::now() + self.limit;
        let mut command = system::command(&self.program);
        command
            .args(["-d", distro, "-u", "root", "--exec", WSLNETD])
            .args(args)
            // Its own messages in UTF-8, from WSL 0.64 on. It does not reach the distro.
            .env("WSL_UTF8", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| WslError::Start {
            program: self.program.clone(),
            source,
        })?;
        let mut child = Ended(child);
        let stdout = listen(child.0.stdout.take()).map_err(lost)?;
        let stderr = listen(child.0.stderr.take()).map_err(lost)?;
        tell(child.0.stdin.take(), offer).map_err(lost)?;
        let timed_out = || WslError::TimedOut {
            program: self.program.clone(),
            distro: distro.to_owned(),
            limit: self.limit,
        };
        let status = loop {
            if let Some(status) = child.0.try_wait().map_err(lost)? {
                break status;
            }
            if Instant::now() >= end {
                return Err(timed_out());
            }
            thread::sleep(POLL);
        };
        // Something that it started may still hold a pipe open.
        let heard = |from: Receiver<io::Result<Vec<u8>>>| {
            let left = end.saturating_duration_since(Instant::now());
            from.recv_timeout(left).map_err(|_| timed_out())?.map_err(lost)
        };
        Ok(Said {
            status,
            stdout: heard(stdout)?,
            stderr: heard(stderr)?,
        })
    }

    /// Why the distro does not connect, as its daemon says.
    pub(super) fn why_not_connected(&self, distro: &str) -> String {
        match self.run(distro, &["status", "--json"], None) {
            Ok(said) => why(distro, &said),
            Err(error) => wslnet_console::output::chain(&error),
        }
    }
}

/// What an answer to `wslnetd status --json` says of the companion.
fn why(distro: &str, said: &Said) -> String {
    /// The part of the daemon's status that counts here.
    #[derive(Deserialize)]
    struct Status {
        companion: Companion,
    }
    #[derive(Deserialize)]
    struct Companion {
        state: String,
        reason: String,
    }
    match serde_json::from_slice::<Status>(&said.stdout) {
        Ok(Status { companion }) if companion.reason.is_empty() => format!(
            "the distro's wslnetd is {}, with another companion than this one?",
            clean(companion.state, LINE_CHARS)
        ),
        Ok(Status { companion }) => shown(companion.reason.as_bytes()).join(" "),
        Err(_) => format!(
            "{}. If wslnetd does not run there: `wsl -d {distro} -u root --exec systemctl enable --now wslnetd`",
            said.complaint()
        ),
    }
}

impl Said {
    /// Whether WSL found no such program in the distro. By its words (microsoft/WSL, `CreateProcess` in `init.cpp`:
    /// `execvpe(…) failed: No such file or directory`), as its exit code is that of any failure.
    pub(super) fn program_is_missing(&self) -> bool {
        let lines = [shown(&self.stdout), shown(&self.stderr)].concat();
        !self.status.success()
            && lines
                .iter()
                .any(|line| line.contains("execvpe") && line.contains(WSLNETD))
    }

    /// How it ended, and the last that it said of that.
    pub(super) fn complaint(&self) -> String {
        let lines = [shown(&self.stdout), shown(&self.stderr)].concat();
        match lines.last() {
            Some(line) => format!("{WSLNETD} in the distro ended with {}: {line}", self.status),
            None => format!("{WSLNETD} in the distro ended with {}", self.status),
        }
    }
}

/// The last lines of what a program printed, safe to show. `wsl.exe` itself writes UTF-16 where it is older than `WSL_UTF8`.
pub(super) fn shown(printed: &[u8]) -> Vec<String> {
    let is_utf16 = printed.len() >= 2 && printed.iter().skip(1).step_by(2).any(|byte| *byte == 0);
    let text = if is_utf16 {
        let units = printed
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u16::from_le_bytes(*pair));
        String::from_utf16_lossy(&units.collect::<Vec<_>>())
    } else {
        String::from_utf8_lossy(printed).into_owned()
    };
    let text = text.trim_start_matches('\u{feff}');
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines.len().saturating_sub(LINES);
    lines[last..].iter().map(|line| clean(line, LINE_CHARS)).collect()
}

/// A program that does not outlive this.
#[derive(Debug)]
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// What comes out of a pipe, until its end or the limit. The thread ends with the program.
fn listen(pipe: Option<impl Read + Send + 'static>) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let pipe = pipe.ok_or(io::ErrorKind::BrokenPipe)?;
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("wsl".to_owned()).spawn(move || {
        let mut said = Vec::new();
        let mut pipe = pipe.take(OUTPUT_LIMIT);
        let read = pipe.read_to_end(&mut said);
        // Nobody waits any more when time was up.
        sender.send(read.map(|_| said)).unwrap_or_default();
    })?;
    Ok(receiver)
}

/// Writes the offer, which fits into any pipe, and closes it. A program that has ended already says why by itself.
fn tell(pipe: Option<ChildStdin>, offer: Option<&Offer>) -> io::Result<()> {
    let (Some(pipe), Some(offer)) = (pipe, offer) else {
        return Ok(());
    };
    match wslnet_link::write_line(pipe, offer) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

#[cfg(all(test, unix))]
mod tests;
