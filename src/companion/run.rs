//! `wslnet-companion run`: puts the rooms together and waits for the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wslnet_console::control::{self, Answer, Endpoint};
use wslnet_link::{Peers, PublicKey};
use wslnet_protocol::Protocol;

use crate::api::{self, Connections};
use crate::bulletin::{Board, Bulletin};
use crate::capability;
use crate::config::{Config, WatchedConfig};
use crate::control_address::{ControlAddress, ControlPorts};
use crate::engine::{Ended, Engine, ForwardReport, Parts, StatusReport, Work};
use crate::event_log;
use crate::form::Form;
use crate::host::{self, BindError, Obstacles};
use crate::names::Naming;
use crate::paths::Paths;
use crate::purge;
use crate::stop;
use crate::trust::Trust;

/// The name of the control endpoint.
pub(crate) const NAME: &str = "wslnet-companion";

/// How long to wait for a former run to leave the port, before looking again.
const POLL: Duration = Duration::from_secs(1);

/// What a command may ask the running program.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// [`StatusReport`].
    Status,
    /// A list of [`ForwardReport`].
    List,
    /// To stop; answered with the number of the process, before it does.
    Stop,
}

/// How the program lives in the form in which it runs.
pub(crate) struct Life {
    /// The form.
    pub form: Form,
    /// Ends it.
    pub stop: CancellationToken,
    /// Notified when the system says that it woke up.
    pub resumed: Arc<Notify>,
    /// Called once the control endpoint answers. Whoever waits for that cannot do without the endpoint.
    pub on_ready: Option<Box<dyn FnOnce() + Send>>,
}

impl Life {
    /// In a console: it ends at Ctrl-C and the like.
    pub(crate) fn in_console(form: Form) -> Self {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_when_requested(stop.clone()));
        Self {
            form,
            stop,
            resumed: Arc::default(),
            on_ready: None,
        }
    }
}

/// companion.toml cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{summary}: nothing is opened before the configuration is mended")]
pub(crate) struct BadConfig {
    summary: String,
    /// The report, for people.
    pub(crate) report: String,
}

/// How far the program has come, for those who ask.
#[derive(Clone)]
enum Phase {
    /// The control port is not open yet, and why.
    Waiting(String),
    /// Distros are served.
    Serving(Engine),
}

/// Runs until it is asked to stop. A bad configuration is a [`BadConfig`].
pub(crate) async fn run(
    paths: &Paths,
    mut config_file: WatchedConfig,
    listen: Option<SocketAddr>,
    life: Life,
) -> anyhow::Result<()> {
    let Life {
        form,
        stop,
        resumed,
        on_ready,
    } = life;
    let mut config = config_file.load().map_err(|report| BadConfig {
        summary: report.summary(),
        report: report.render(false),
    })?;
    host::allow_many_sockets();
    purge::leftovers(paths);
    let key = wslnet_link::load_or_create(&paths.state_dir).context("cannot use the key")?;
    let trust = Trust::load(&paths.state_dir).context("cannot read the trusted keys")?;
    let tls = wslnet_link::server_config(&key, Arc::new(trust.clone())).context("cannot set up TLS")?;
    let tls = Arc::new(tls);
    let rights = capability::all(paths);
    tracing::info!(
        target: event_log::TARGET,
        version = crate::VERSION, %form, key = %key.public(), trusted = trust.count(), "wslnet-companion starts"
    );

    let (phase, seen) = watch::channel(Phase::Waiting("it has just started".to_owned()));
    if form == Form::Service {
        // Before those who wait for the service are told that it is ready.
        post_bulletins(paths, key.public(), seen.clone(), stop.clone());
    }
    let commands = match (open_endpoint(paths), on_ready) {
        (Ok(endpoint), on_ready) => {
            let commands = tokio::spawn(answer_commands(endpoint, seen, stop.clone()));
            if let Some(ready) = on_ready {
                ready();
            }
            Some(commands)
        }
        (Err(error), Some(_)) => return Err(error).context("the control endpoint cannot be opened"),
        (Err(error), None) => {
            let run_dir = paths.run_dir.display();
            tracing::warn!(%error, %run_dir, "`status` and `list` will not work: the control endpoint cannot be opened");
            None
        }
    };
    let mut naming = Naming::start(paths.hosts.clone(), config.names);
    let place = ControlAddress { named: listen };
    while let Some(Opened {
        ports,
        control,
        given_up,
    }) = control_ports(place, &config, &phase, &stop).await?
    {
        for address in control.addresses() {
            tracing::info!(%address, "listening for distros");
        }
        let connections = Connections::default();
        let parts = Parts {
            config,
            config_file,
            control,
            given_up,
            place,
            trust: trust.clone(),
            connections: connections.clone(),
            state_dir: paths.state_dir.clone(),
            naming,
            form,
            rights: rights.clone(),
            resumed: resumed.clone(),
        };
        let (work, engine) = Work::new(parts);
        phase.send_replace(Phase::Serving(engine.clone()));
        let serving = stop.child_token();
        let mut serves = JoinSet::new();
        for port in ports {
            serves.spawn(api::serve(
                port,
                tls.clone(),
                trust.clone(),
                engine.clone(),
                connections.clone(),
                serving.clone(),
            ));
        }
        let (ended, parts) = work.run(stop.clone()).await;
        serving.cancel();
        while let Some(ended) = serves.join_next().await {
            ended.context("the control port ended badly")?;
        }
        (config, config_file, naming) = (parts.config, parts.config_file, parts.naming);
        if ended == Ended::Moved {
            tracing::info!("the control port belongs elsewhere now; the distros come back by themselves");
        }
    }
    naming.close().await;
    if let Some(commands) = commands {
        commands.await.context("the control endpoint ended badly")?;
    }
    tracing::info!(target: event_log::TARGET, "wslnet-companion has closed all its ports");
    Ok(())
}

async fn cancel_when_requested(stop: CancellationToken) {
    if let Err(error) = stop::requested().await {
        tracing::warn!(%error, "cannot wait for the signal to stop");
        return;
    }
    stop.cancel();
}

/// Opens the endpoint for commands, which answers from the beginning.
fn open_endpoint(paths: &Paths) -> std::io::Result<control::Listener> {
    std::fs::create_dir_all(&paths.run_dir)?;
    control::listen(&Endpoint::in_run_dir(&paths.run_dir, NAME))
}

/// Tells everybody what is no secret, for as long as the service runs. It can do without.
fn post_bulletins(paths: &Paths, key: PublicKey, phase: watch::Receiver<Phase>, stop: CancellationToken) {
    let state_dir = paths.state_dir.clone();
    let write = move || {
        // What is on the disk now: whoever has just been trusted looks at once.
        let trusted = Peers::load(&state_dir).unwrap_or_else(|error| {
            tracing::warn!(%error, "users are told that no distro is trusted: the trusted keys cannot be read");
            Peers::default()
        });
        let phase = phase.borrow().clone();
        async move { Bulletin::new(key, &trusted, report(phase).await) }
    };
    match Board::open() {
        Ok(board) => drop(tokio::spawn(board.serve(write, stop))),
        Err(error) => tracing::warn!(
            %error,
            "commands take an administrator's window: another program may hold the pipe by which the service tells all users"
        ),
    }
}

/// The control port, open.
struct Opened {
    ports: Vec<TcpListener>,
    /// Where they listen.
    control: ControlPorts,
    /// Where none does that should, and why.
    given_up: Option<(ControlPorts, String)>,
}

/// Opens the control port where it belongs, as soon as that is possible in one place at least. `None` when the program is asked to stop
/// while it waits, and when it was asked to stop before.
async fn control_ports(
    place: ControlAddress,
    config: &Config,
    phase: &watch::Sender<Phase>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Opened>> {
    let mut said = String::new();
    let obstacles = Obstacles::default();
    while !stop.is_cancelled() {
        let interfaces = host::interfaces().unwrap_or_else(|error| {
            tracing::warn!(%error, "the WSL adapter is not found: Windows does not list its network interfaces");
            Vec::new()
        });
        let (mut ports, mut control) = (Vec::new(), ControlPorts::default());
        let (mut missing, mut reasons) = (ControlPorts::default(), Vec::new());
        for address in place.of(config, &interfaces).addresses() {
            match host::bind_control(address) {
                Ok(listener) => {
                    let port = TcpListener::from_std(listener).context("cannot watch the control port")?;
                    control.put(port.local_addr().context("the control port has no address")?);
                    ports.push(port);
                }
                Err(error @ BindError::NotConcrete(_)) => {
                    bail!("cannot listen on {address}: {error}; the control port never listens on a wildcard")
                }
                Err(error) => {
                    missing.put(address);
                    let obstacle = obstacles.look(Protocol::Tcp, address, &error, host::awake());
                    reasons.push(format!("cannot listen: {}; trying again", obstacle.reason));
                }
            }
        }
        let reason = reasons.join("; ");
        if said != reason {
            tracing::warn!(reason, "the control port is not open everywhere");
            said = reason.clone();
        }
        if !ports.is_empty() {
            let given_up = (!reason.is_empty()).then_some((missing, reason));
            return Ok(Some(Opened {
                ports,
                control,
                given_up,
            }));
        }
        phase.send_replace(Phase::Waiting(reason));
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(None)
}

async fn answer_commands(
    mut listener: control::Listener,
    phase: watch::Receiver<Phase>,
    stop: CancellationToken,
) {
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            () = stop.cancelled() => return,
        };
        match connection {
            Ok(connection) => {
                let phase = phase.borrow().clone();
                tokio::spawn(answer_command(connection, phase, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the control endpoint could not accept a command");
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

async fn answer_command(mut connection: control::Connection, phase: Phase, stop: CancellationToken) {
    let ask = connection.request::<Ask>().await;
    let sent = match ask {
        Err(error) => connection.answer(&Answer::<()>::Failed(error.to_string())).await,
        Ok(Ask::Stop) if !connection.peer().privileged => {
            let reason = "only its own user and root may stop it".to_owned();
            connection.answer(&Answer::<()>::Failed(reason)).await
        }
        Ok(Ask::Stop) => {
            tracing::info!(target: event_log::TARGET, "asked to stop by a command");
            let sent = connection.answer(&Answer::Done(std::process::id())).await;
            stop.cancel();
            sent
        }
        Ok(Ask::Status) => {
            let status = report(phase).await.map(|(status, _)| status);
            connection.answer(&Answer::from(status)).await
        }
        Ok(Ask::List) => {
            let list = report(phase).await.map(|(_, list)| list);
            connection.answer(&Answer::from(list)).await
        }
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "a command went away before its answer");
    }
}

async fn report(phase: Phase) -> Result<(StatusReport, Vec<ForwardReport>), String> {
    match phase {
        Phase::Waiting(reason) => Err(format!("wslnet-companion runs, but serves nobody yet: {reason}")),
        Phase::Serving(engine) => engine
            .report()
            .await
            .ok_or_else(|| "wslnet-companion is stopping".to_owned()),
    }
}
