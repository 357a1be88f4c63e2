//! The program of the user who has logged on, in the background: started, asked, ended.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use wslnet_console::control::{self, Answer, CallError, Endpoint};

use super::{Order, program};
use crate::capability::is_administrator;
use crate::host::Process;
use crate::paths::Paths;
use crate::run::{Ask, NAME};

/// How long a program may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How long one that has been started may take to answer for the first time.
const START_TIME: Duration = Duration::from_secs(20);
/// How long one may take to stop before its process is ended.
const STOP_TIME: Duration = Duration::from_secs(20);
/// How often to look.
const GLANCE: Duration = Duration::from_millis(50);

pub(super) fn put(order: &mut Order) -> anyhow::Result<()> {
    take(order)?;
    let program = program::path()?;
    // It returns when the program in the background answers, and says on stderr why it does not.
    let status = Command::new(&program)
        .args(["run", "--background"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !status.success() {
        bail!("{} does not run in the background", program.display());
    }
    if is_administrator() {
        order.tell("note: it has an administrator's rights until the next logon, as this window has them");
    }
    order.tell(answer(&order.paths)?);
    Ok(())
}

/// Ends the program that runs with the user's places, whoever has started it.
pub(super) fn take(order: &mut Order) -> anyhow::Result<()> {
    let pid = match call::<Answer<u32>>(&order.paths, &Ask::Stop) {
        Ok(Answer::Done(pid)) => pid,
        Err(CallError::NotRunning { .. }) => return Ok(()),
        Ok(Answer::Failed(reason)) => bail!("the program that runs does not stop: {reason}"),
        Err(error) => return Err(error).context("cannot stop the program that runs"),
    };
    if !has_ended(pid, &order.paths) {
        bail!("the program that runs (process {pid}) does not end: end it in the Task Manager");
    }
    order.tell("stopped: the program of this user");
    Ok(())
}

/// Waits for the end of a program that was told to stop. It no longer answers some time before: what it has open is free only when its
/// process has ended.
fn has_ended(pid: u32, paths: &Paths) -> bool {
    // It has just answered, so the number is still its own.
    if let Some(process) = Process::open(pid) {
        return process.ends_within(STOP_TIME) || process.end();
    }
    // It has ended by now, or has more rights than this one.
    let deadline = Instant::now() + STOP_TIME;
    while is_running(paths) {
        if Instant::now() > deadline {
            return false;
        }
        sleep(GLANCE);
    }
    true
}

/// What the program says of itself once it runs, for people.
///
/// # Errors
/// When it does not answer in time.
pub(super) fn answer(paths: &Paths) -> anyhow::Result<String> {
    let deadline = Instant::now() + START_TIME;
    loop {
        match call::<Answer<IgnoredAny>>(paths, &Ask::Status) {
            Ok(Answer::Done(_)) => return Ok("it answers, and serves distros".to_owned()),
            Ok(Answer::Failed(reason)) => return Ok(format!("it answers: {reason}")),
            Err(CallError::NotRunning { .. }) if Instant::now() < deadline => sleep(GLANCE),
            Err(error) => return Err(error).context("the program was started and does not answer"),
        }
    }
}

/// Whether a program runs with these places.
pub(super) fn is_running(paths: &Paths) -> bool {
    !matches!(
        call::<IgnoredAny>(paths, &Ask::Status),
        Err(CallError::NotRunning { .. })
    )
}

fn call<T: DeserializeOwned>(paths: &Paths, ask: &impl Serialize) -> Result<T, CallError> {
    let endpoint = Endpoint::in_run_dir(&paths.run_dir, NAME);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| CallError::Broken {
        name: NAME.to_owned(),
        source,
    })?;
    runtime.block_on(control::call(&endpoint, ask, ANSWER_TIME))
}
