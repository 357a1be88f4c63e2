//! What several checks need to know, looked up once and at the same time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wslnet_console::control::{Answer, Endpoint, call};
use wslnet_console::output;

use super::asking::Asked;
use crate::config::{self, Config, ConfigFiles};
use crate::control::{self, Ask};
use crate::network::{Detected, Detection, NetworkMode, NetworkView, Probe, Watcher};
use crate::report::StatusReport;
use crate::run::{self, Places};

/// How long all of it may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long WSL and the daemon may take for an answer, so that they say themselves that they do not.
const LIMIT: Duration = Duration::from_millis(1800);

/// The scene.
#[derive(Debug)]
pub(super) struct Scene {
    /// Where the daemon has its files.
    pub places: Places,
    /// Whether root is looking.
    pub is_root: bool,
    /// The configuration, or the summary of what is wrong with it.
    pub config: Result<Config, String>,
    /// What the running daemon says of itself, or why it says nothing.
    pub status: Result<StatusReport, String>,
    /// The networking mode, or why it is not known.
    pub mode: Result<Detected, String>,
    /// The network, or why it is not known.
    pub network: Result<NetworkView, String>,
}

impl Scene {
    /// Looks.
    pub(super) fn look(places: &Places) -> Self {
        let end = Instant::now() + PATIENCE;
        let config = read_config(places);
        let configured = config
            .as_ref()
            .ok()
            .and_then(|config| config.mode_outside_wsl.configured());
        let run_dir = places.run_dir.clone();
        let status = Asked::begin(move || {
            let endpoint = Endpoint::in_run_dir(&run_dir, control::NAME);
            let answer = block_on(call::<_, Answer<StatusReport>>(&endpoint, &Ask::Status, LIMIT))?;
            answer
                .map_err(|error| output::chain(&error))
                .and_then(Result::from)
        });
        let mode = Asked::begin(move || mode(configured));
        let network = Asked::begin(|| {
            let view = block_on(async {
                Watcher::open()
                    .await
                    .map(|watcher| watcher.views().borrow().clone())
            })?;
            view.map_err(|error| output::chain(&error))
        });
        Self {
            places: places.clone(),
            is_root: nix::unistd::geteuid().is_root(),
            config,
            status: status.by(end).unwrap_or_else(late),
            mode: mode.by(end).unwrap_or_else(late),
            network: network.by(end).unwrap_or_else(late),
        }
    }

    /// Where the companion is: as the running daemon says, or else as it would look for it.
    pub(super) fn companion(&self) -> Result<SocketAddr, String> {
        let told = self
            .status
            .as_ref()
            .ok()
            .and_then(|status| status.companion.address);
        if let Some(address) = told {
            return Ok(address);
        }
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let network = self.network.as_ref().map_err(Clone::clone)?;
        let unknown = NetworkMode::Unknown("unknown".to_owned());
        let mode = self.mode.as_ref().map_or(&unknown, |detected| &detected.mode);
        let route = run::route(config, None, mode, network);
        route.companion.ok_or(route.missing)
    }
}

/// What is known of something that did not come in time.
fn late<T>() -> Result<T, String> {
    Err(format!("no answer within {PATIENCE:?}"))
}

/// Runs something asynchronous on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    Ok(runtime.block_on(work))
}

fn read_config(places: &Places) -> Result<Config, String> {
    ConfigFiles::new(places.config.clone(), places.config_named)
        .read()
        .and_then(config::parse)
        .map_err(|reports| reports.summary())
}

fn mode(configured: Option<&str>) -> Result<Detected, String> {
    let probe = Probe {
        limit: LIMIT,
        ..Probe::default()
    };
    match probe.detect(configured).map_err(|error| error.to_string())? {
        Detection::Known(detected) => Ok(detected),
        Detection::Ask(inquiry) => inquiry.ask().map_err(|error| output::chain(&error)),
    }
}
