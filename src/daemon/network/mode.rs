//! Which networking mode WSL runs this VM in.
//!
//! The mode decides what is right to do, so it is asked of WSL and never guessed. It is fixed for the life of the VM:
//! a clear answer is asked for once. WSL may take its time, so looking around ([`detect`]) and asking it ([`Inquiry`])
//! are two steps, and only the second blocks.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::wsl::{self, AskError, Question};

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
pub type ModeError = AskError;

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
            limit: wsl::LIMIT,
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

/// Whether this machine is WSL, of either version.
#[must_use]
pub fn is_wsl() -> bool {
    Probe::default().is_wsl()
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
            question: Question {
                program: wslinfo.clone(),
                arguments: &["--networking-mode"],
                limit: self.limit,
            },
            ignored,
        }))
    }

    /// Whether this is WSL.
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
    question: Question,
    ignored: Option<String>,
}

impl Inquiry {
    /// Asks wslinfo. Blocks for as long as that takes, at most for a little more than the probe's limit.
    ///
    /// # Errors
    /// When wslinfo gives no answer.
    pub fn ask(&self) -> Result<Detected, ModeError> {
        let Ok(mode) = self.question.ask()?.parse();
        Ok(Detected {
            mode,
            source: self.question.to_string(),
            ignored: self.ignored.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
