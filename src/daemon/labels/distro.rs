//! What this distro is called in Windows.
//!
//! systemd starts its services with a clean environment, so nobody told the daemon. WSL's init knows: it is the distro's
//! first process, or its second where it has made way for systemd, and still has the environment that WSL started it with.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wslnet_console::text::is_hostile;

use super::environ::variable;
use super::processes::{GROUPS, OpenProcess, Processes};
use super::value;
use crate::wsl::{self, Question};

/// The variable in the environment of WSL's init.
const VARIABLE: &str = "WSL2_DISTRO_NAME";
/// The program file of WSL's init; WSL puts it into every distro.
const INIT: &str = "/init";
/// The processes that may be WSL's init.
const INIT_PIDS: [i32; 2] = [2, 1];
/// How long to wait for init's environment.
const ENVIRON_LIMIT: Duration = Duration::from_secs(2);
/// How the path of a distro's root begins in Windows, now and in WSL before 2022.
const SHARES: [&str; 2] = [r"\\wsl.localhost\", r"\\wsl$\"];
/// The longest name, in characters: that of a folder in Windows.
const NAME_CHARS: usize = 255;

/// The name of this distro, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistroName {
    /// The name, safe to print. `None` where nobody tells it.
    pub name: Option<String>,
    /// Who told it, or why nobody did; for people.
    pub source: String,
}

/// Finds out the name of this distro: from WSL's init, then from `wslpath`, then from the configuration.
///
/// Blocks, for several seconds where WSL does not answer: call it once, on a thread of its own.
#[must_use]
pub fn distro_name(configured: Option<&str>) -> DistroName {
    Probe::default().distro_name(configured)
}

/// Where to look. Tests look elsewhere.
#[derive(Clone, Debug)]
struct Probe {
    proc: PathBuf,
    /// The user who runs WSL's init.
    init_uid: u32,
    /// Where wslpath may be; the first that exists is run.
    wslpath: Vec<PathBuf>,
    /// How long it may take.
    limit: Duration,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            init_uid: 0,
            wslpath: ["/usr/bin/wslpath", "/bin/wslpath"].map(PathBuf::from).into(),
            limit: wsl::LIMIT,
        }
    }
}

impl Probe {
    fn distro_name(&self, configured: Option<&str>) -> DistroName {
        let known = |name, source: String| DistroName {
            name: Some(name),
            source,
        };
        let by_init = match self.by_init() {
            Ok(name) => return known(name, format!("{VARIABLE} of WSL's init")),
            Err(why) => why,
        };
        let by_wslpath = match self.by_wslpath() {
            Ok((name, question)) => return known(name, question),
            Err(why) => why,
        };
        match configured.map(value) {
            Some(name) if is_name(&name) => known(name, "the configuration".to_owned()),
            Some(_) => unknown(&by_init, &by_wslpath, "the configured name is not one"),
            None => unknown(&by_init, &by_wslpath, "none is configured"),
        }
    }

    fn by_init(&self) -> Result<String, String> {
        let (sender, receiver) = mpsc::channel();
        let probe = self.clone();
        // Nobody can change the memory of WSL's init, but reading memory can take for ever all the same.
        thread::Builder::new()
            .name("distro-name".to_owned())
            .spawn(move || {
                // Nobody waits any more when time was up.
                let _ = sender.send(probe.read_init());
            })
            .map_err(|error| format!("there is no thread to read the environment of WSL's init: {error}"))?;
        receiver
            .recv_timeout(ENVIRON_LIMIT)
            .unwrap_or_else(|_| Err("reading the environment of WSL's init takes too long".to_owned()))
    }

    fn read_init(&self) -> Result<String, String> {
        let processes = Processes::open(&self.proc, Path::new(GROUPS))
            .map_err(|error| format!("cannot open /proc: {error}"))?;
        let is_init = |process: &OpenProcess| {
            process.exe().as_deref() == Some(INIT) && process.uid() == Some(self.init_uid)
        };
        let init = INIT_PIDS
            .into_iter()
            .filter_map(|pid| processes.process(pid))
            .find(is_init)
            .ok_or("there is no init of WSL")?;
        let name = variable(&init, "environ", VARIABLE)
            .map_err(|error| format!("cannot read the environment of WSL's init: {error}"))?
            .map(value)
            .ok_or_else(|| format!("WSL's init has no {VARIABLE}"))?;
        if is_name(&name) {
            Ok(name)
        } else {
            Err(format!("{VARIABLE} of WSL's init is not a name"))
        }
    }

    fn by_wslpath(&self) -> Result<(String, String), String> {
        let program = self.wslpath.iter().find(|path| path.exists());
        let program = program.ok_or("there is no wslpath")?;
        let question = Question {
            program: program.clone(),
            arguments: &["-w", "/"],
            limit: self.limit,
        };
        let answer = question
            .ask()
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        let name =
            name_in(&answer).ok_or_else(|| format!("{question} did not answer with a distro's folder"))?;
        Ok((name.to_owned(), question.to_string()))
    }
}

fn unknown(by_init: &str, by_wslpath: &str, configured: &str) -> DistroName {
    DistroName {
        name: None,
        source: format!("unknown: {by_init}; {by_wslpath}; {configured}"),
    }
}

/// The distro whose root this is in Windows, `\\wsl.localhost\NAME\` or `\\wsl$\NAME\`. WSL has been seen to answer with a
/// part of that (canonical/ubuntu-pro-for-wsl, pull request 1621), so only the whole counts.
pub(super) fn name_in(path: &str) -> Option<&str> {
    let name = SHARES
        .iter()
        .find_map(|share| path.strip_prefix(share))?
        .strip_suffix('\\')?;
    is_name(name).then_some(name)
}

/// Whether Windows could have a folder of that name, and a line of text can show it.
fn is_name(name: &str) -> bool {
    let is_allowed = |c| !is_hostile(c) && c != char::REPLACEMENT_CHARACTER && !r#"\/:*?"<>|"#.contains(c);
    !name.trim().is_empty() && name.chars().count() <= NAME_CHARS && name.chars().all(is_allowed)
}

#[cfg(test)]
mod tests;
