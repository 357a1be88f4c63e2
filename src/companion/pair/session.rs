//! Whether the distro connects after a pairing, as the running companion tells.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::time::sleep;
use wslnet_console::control::{Answer, CallError, Endpoint, call};
use wslnet_protocol::SessionId;

use crate::bulletin::{self, ReadError};
use crate::engine::StatusReport;
use crate::install;
use crate::paths::Paths;
use crate::run::{self, Ask};

/// How long the first session may take: the daemon looks for another key once a second, and waits up to seven between
/// attempts that meet silence.
const PATIENCE: Duration = Duration::from_secs(10);
/// What cannot be told.
const UNKNOWN: &str = "paired, but cannot tell whether the distro is connected";
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
    /// The sessions that are connected, by distro.
    Serving(BTreeMap<String, SessionId>),
}

/// Waits for distros.
#[derive(Debug)]
pub(super) struct Watch {
    endpoint: Endpoint,
    /// Whether it is the service, which tells everybody.
    is_service: bool,
    runtime: Runtime,
    /// The sessions that were there before the pairing.
    former: BTreeMap<String, SessionId>,
}

impl Watch {
    /// Remembers which sessions are there now.
    pub(super) fn start(paths: &Paths) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let mut watch = Self {
            endpoint: Endpoint::in_run_dir(&paths.run_dir, run::NAME),
            is_service: install::is_service(paths),
            runtime,
            former: BTreeMap::new(),
        };
        if let Look::Serving(sessions) = watch.runtime.block_on(watch.look())? {
            watch.former = sessions;
        }
        Ok(watch)
    }

    /// Waits until a distro has a session; until it has another one than at the start, if its key was `replaced`.
    pub(super) fn wait(&self, distro: &str, replaced: bool) -> anyhow::Result<Outcome> {
        self.runtime.block_on(async {
            let end = Instant::now() + PATIENCE;
            loop {
                let look = self.look().await?;
                match &look {
                    Look::NotRunning => return Ok(Outcome::NotRunning),
                    Look::Serving(sessions)
                        if sessions
                            .get(distro)
                            .is_some_and(|session| !replaced || self.former.get(distro) != Some(session)) =>
                    {
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
        let told = if self.is_service {
            bulletin::read().await.map(|bulletin| bulletin.status)
        } else {
            Err(ReadError::NotRunning)
        };
        let answer = match told {
            Ok(status) => status,
            // A user's program, or a service that only administrators can ask now.
            Err(silent) => match call(&self.endpoint, &Ask::Status, ANSWER_TIME).await {
                Err(CallError::NotRunning { .. }) => return Ok(Look::NotRunning),
                Err(CallError::NotAllowed { .. }) => return Err(silent).context(UNKNOWN),
                answer => answer.context(UNKNOWN)?,
            },
        };
        Ok(match answer {
            Answer::Done(StatusReport { distros, .. }) => {
                let connected = distros.into_iter().filter(|distro| distro.connected);
                Look::Serving(connected.map(|distro| (distro.distro, distro.session)).collect())
            }
            Answer::Failed(reason) => Look::NotServing(reason),
        })
    }
}
