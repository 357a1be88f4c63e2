//! Whether the distro connects after a pairing, as the running companion tells.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::time::sleep;
use wslnet_console::control::{Answer, CallError, Endpoint, call};
use wslnet_protocol::SessionId;

use crate::engine::StatusReport;
use crate::paths::Paths;
use crate::run::{self, Ask};

/// How long the first session may take: the daemon looks for another key once a second, and waits up to seven between
/// attempts that meet silence.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look.
const POLL: Duration = Duration::from_millis(100);
/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// How it came out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The distro has a session.
    Connected,
    /// The companion does not run.
    NotRunning,
    /// The companion runs and serves nobody, for this reason.
    NotServing(String),
    /// The companion runs, and the distro did not come.
    Silence,
}

/// One look at the running companion.
enum Look {
    NotRunning,
    NotServing(String),
    Serving(Option<SessionId>),
}

/// Waits for one distro.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    endpoint: Endpoint,
    distro: &'a str,
    runtime: Runtime,
    /// The session that was there before the pairing.
    former: Option<SessionId>,
}

impl<'a> Watch<'a> {
    /// Remembers which session is there now.
    pub(super) fn start(paths: &Paths, distro: &'a str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let mut watch = Self {
            endpoint: Endpoint::in_run_dir(&paths.run_dir, run::NAME),
            distro,
            runtime,
            former: None,
        };
        if let Look::Serving(session) = watch.runtime.block_on(watch.look())? {
            watch.former = session;
        }
        Ok(watch)
    }

    /// Waits until the distro has a session; until it has another one than at the start, if its key was `replaced`.
    pub(super) fn wait(&self, replaced: bool) -> anyhow::Result<Outcome> {
        self.runtime.block_on(async {
            let end = Instant::now() + PATIENCE;
            loop {
                let look = self.look().await?;
                match look {
                    Look::NotRunning => return Ok(Outcome::NotRunning),
                    Look::Serving(Some(session)) if !replaced || self.former != Some(session) => {
                        return Ok(Outcome::Connected);
                    }
                    Look::NotServing(_) | Look::Serving(_) => {}
                }
                if Instant::now() >= end {
                    return Ok(match look {
                        Look::NotServing(reason) => Outcome::NotServing(reason),
                        Look::NotRunning | Look::Serving(_) => Outcome::Silence,
                    });
                }
                sleep(POLL).await;
            }
        })
    }

    async fn look(&self) -> anyhow::Result<Look> {
        match call::<_, Answer<StatusReport>>(&self.endpoint, &Ask::Status, ANSWER_TIME).await {
            Ok(Answer::Done(status)) => {
                let is_ours =
                    |distro: &&crate::engine::DistroReport| distro.connected && distro.distro == self.distro;
                let session = status.distros.iter().find(is_ours).map(|distro| distro.session);
                Ok(Look::Serving(session))
            }
            Ok(Answer::Failed(reason)) => Ok(Look::NotServing(reason)),
            Err(CallError::NotRunning { .. }) => Ok(Look::NotRunning),
            Err(error) => Err(error).context("paired, but cannot tell whether the distro is connected"),
        }
    }
}
