//! `run --background`: the program starts itself once more, without a window, and returns when that one answers.
//!
//! By `CREATE_NO_WINDOW` and not `DETACHED_PROCESS`: a program without any console would have a window pop up for each
//! console program that it runs, such as `netsh`, while this gives it a console without a window, which those share.
//! <https://learn.microsoft.com/windows/win32/procthread/process-creation-flags>

use std::net::SocketAddr;
use std::os::windows::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::System::Console::{
    GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
};
use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

use super::{logon, service};
use crate::paths::Paths;
use crate::service::{LOG_FILE, NAME};

/// How long the other one may take to answer. At a logon the machine is busy.
const START_TIME: Duration = Duration::from_secs(60);
/// How often to look.
const GLANCE: Duration = Duration::from_millis(50);

/// Starts it, unless one runs with these places already. `named_config` says that companion.toml is not in the standard place.
pub(crate) fn run_in_background(
    paths: &Paths,
    named_config: bool,
    listen: Option<SocketAddr>,
) -> anyhow::Result<()> {
    if service::is_installed() {
        bail!("the service {NAME} is installed on this machine, and does the work");
    }
    if logon::is_running(paths) {
        return Ok(());
    }
    std::fs::create_dir_all(&paths.state_dir)
        .with_context(|| format!("cannot make {}", paths.state_dir.display()))?;
    let log = paths.state_dir.join(LOG_FILE);
    let program = std::env::current_exe().context("Windows does not say where this program is")?;
    let mut command = Command::new(program);
    command.args(["run", "--form", "logon", "--log"]).arg(&log);
    for (flag, path) in [("--state-dir", &paths.state_dir), ("--run-dir", &paths.run_dir)] {
        command.arg(flag).arg(path);
    }
    // A file that is named must be there.
    if named_config {
        command.arg("--config").arg(&paths.config);
    }
    if let Some(listen) = listen {
        command.args(["--listen", &listen.to_string()]);
    }
    keep_own_handles();
    let mut child = command
        .creation_flags(CREATE_NO_WINDOW)
        .current_dir(&paths.state_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the program in the background")?;
    let deadline = Instant::now() + START_TIME;
    while !logon::is_running(paths) {
        if let Some(status) = child.try_wait().context("cannot look at the program")? {
            bail!("the program ended with {status}: {} says why", log.display());
        }
        if Instant::now() > deadline {
            bail!("the program does not answer: {} may say why", log.display());
        }
        sleep(GLANCE);
    }
    Ok(())
}

/// What this program was given as input and output stays its own. A child inherits whatever can be inherited, and who reads our
/// output to the end would wait until the program in the background ends.
fn keep_own_handles() {
    for which in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // SAFETY: the first call takes no pointers. What it gives is a handle of ours, or one that is none, which the second call
        // refuses.
        unsafe { SetHandleInformation(GetStdHandle(which), HANDLE_FLAG_INHERIT, 0) };
    }
}
