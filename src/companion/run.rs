//! `wslnet-companion run`: puts the rooms together and waits for the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wslnet_console::control::{self, Answer, Endpoint};
use wslnet_console::output::print_to_stderr;
use wslnet_protocol::DEFAULT_PORT;

use crate::api::{self, Connections};
use crate::config::WatchedConfig;
use crate::engine::{Engine, Parts, Work};
use crate::host::{self, BindError};
use crate::paths::Paths;
use crate::stop;
use crate::trust::Trust;

/// The name of the control endpoint.
pub(crate) const NAME: &str = "wslnet-companion";

/// How long to wait for the WSL adapter, or for a former run to leave the port, before looking again.
const ADAPTER_POLL: Duration = Duration::from_secs(1);

/// What a command may ask the running program.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// [`StatusReport`](crate::engine::StatusReport).
    Status,
    /// A list of [`ForwardReport`](crate::engine::ForwardReport).
    List,
}

/// Runs until it is asked to stop.
pub(crate) async fn run(
    paths: &Paths,
    mut config_file: WatchedConfig,
    listen: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let config = match config_file.load() {
        Ok(config) => config,
        Err(report) => {
            print_to_stderr(&report.render(false));
            bail!(
                "{}: nothing is opened before the configuration is mended",
                report.summary()
            );
        }
    };
    host::allow_many_sockets();
    let key = wslnet_link::load_or_create(&paths.state_dir).context("cannot use the key")?;
    let trust = Trust::load(&paths.state_dir).context("cannot read the trusted keys")?;
    let tls = wslnet_link::server_config(&key, Arc::new(trust.clone())).context("cannot set up TLS")?;
    let listener = control::listen(&Endpoint::in_run_dir(&paths.run_dir, NAME))
        .with_context(|| format!("cannot open the control endpoint in {}", paths.run_dir.display()))?;

    let stop = CancellationToken::new();
    tokio::spawn(cancel_when_requested(stop.clone()));
    let Some(port) = control_port(listen.or(config.listen), &stop).await? else {
        return Ok(());
    };
    let address = port.local_addr().context("the control port has no address")?;
    tracing::info!(
        %address,
        version = crate::VERSION,
        key = %key.public(),
        trusted = trust.count(),
        "wslnet-companion listens for distros"
    );

    let connections = Connections::default();
    let (work, engine) = Work::new(Parts {
        config,
        config_file,
        control: address,
        trust: trust.clone(),
        connections: connections.clone(),
    });
    let api = tokio::spawn(api::serve(
        port,
        Arc::new(tls),
        trust,
        engine.clone(),
        connections,
        stop.clone(),
    ));
    let commands = tokio::spawn(answer_commands(listener, engine, stop.clone()));
    work.run(stop.clone()).await;
    // The loop ended because of `stop`, and so do these two.
    for task in [api, commands] {
        task.await.context("a task ended badly")?;
    }
    tracing::info!("wslnet-companion has closed all its ports");
    Ok(())
}

async fn cancel_when_requested(stop: CancellationToken) {
    if let Err(error) = stop::requested().await {
        tracing::warn!(%error, "cannot wait for the signal to stop");
        return;
    }
    stop.cancel();
}

/// Opens the control port at the given address, or on the WSL adapter as soon as there is one. `None` when the program
/// is asked to stop while it waits.
async fn control_port(
    listen: Option<SocketAddr>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<TcpListener>> {
    let mut said = String::new();
    loop {
        let adapter = || host::interfaces().ok().and_then(|all| adapter_address(&all));
        let reason = match listen.or_else(adapter) {
            None => "waiting for the WSL adapter, which appears when the first distro starts; \
                     outside Windows name the address with --listen IP:PORT"
                .to_owned(),
            Some(address) => match host::bind_control(address) {
                Ok(listener) => {
                    return Ok(Some(
                        TcpListener::from_std(listener).context("cannot watch the control port")?,
                    ));
                }
                Err(error @ BindError::NotConcrete(_)) => {
                    bail!("cannot listen on {address}: {error}; the control port never listens on a wildcard")
                }
                Err(error) => {
                    let owner = host::owner_of(address, Some(std::process::id()));
                    let owner = owner
                        .and_then(|owner| owner.image)
                        .unwrap_or_else(|| "unknown".to_owned());
                    format!("cannot listen on {address} (held by: {owner}): {error}; trying again")
                }
            },
        };
        if said != reason {
            tracing::warn!(reason, "the control port is not open");
            said = reason;
        }
        tokio::select! {
            () = tokio::time::sleep(ADAPTER_POLL) => {}
            () = stop.cancelled() => return Ok(None),
        }
    }
}

fn adapter_address(interfaces: &[host::Interface]) -> Option<SocketAddr> {
    let adapter = host::wsl_adapter(interfaces)?;
    let address = adapter
        .addresses
        .iter()
        .find(|entry| entry.preferred && entry.address.is_ipv4())?;
    Some(SocketAddr::new(address.address, DEFAULT_PORT))
}

async fn answer_commands(mut listener: control::Listener, engine: Engine, stop: CancellationToken) {
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            () = stop.cancelled() => return,
        };
        match connection {
            Ok(connection) => {
                tokio::spawn(answer_command(connection, engine.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the control endpoint could not accept a command");
                tokio::time::sleep(ADAPTER_POLL).await;
            }
        }
    }
}

async fn answer_command(mut connection: control::Connection, engine: Engine) {
    let ask = connection.request::<Ask>().await;
    let sent = match (ask, engine.report().await) {
        (Err(error), _) => connection.answer(&Answer::<()>::Failed(error.to_string())).await,
        (Ok(_), None) => {
            connection
                .answer(&Answer::<()>::Failed("wslnet-companion is stopping".to_owned()))
                .await
        }
        (Ok(Ask::Status), Some((status, _))) => connection.answer(&Answer::Done(status)).await,
        (Ok(Ask::List), Some((_, list))) => connection.answer(&Answer::Done(list)).await,
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "a command went away before its answer");
    }
}
