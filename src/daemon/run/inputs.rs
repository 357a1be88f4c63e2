//! What the event loop starts from: the networking mode, the way to the companion, who this daemon is.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;
use std::{fs, io};

use wslnet_protocol::OpenSession;

use super::MODE_RETRY;
use crate::config::{CompanionAddress, Config};
use crate::network::{self, ModeError, NetworkMode, NetworkView};
use crate::picture::ModeView;
use crate::push::Route;

/// The networking mode, and when to ask for it again.
pub(super) struct Mode {
    pub(super) view: ModeView,
    pub(super) ask_again: Option<Instant>,
}

/// Finds out the mode. It is fixed for the life of the VM, so a clear answer is asked for once.
///
/// # Errors
/// Only if the configuration is at fault. A WSL that does not answer leaves the mode unknown, and is asked again.
pub(super) fn mode(config: &Config) -> anyhow::Result<Mode> {
    let configured = config.mode_outside_wsl.configured();
    match network::detect(configured) {
        Ok(detected) => {
            if let Some(ignored) = detected.ignored {
                tracing::warn!(
                    ignored,
                    "network-mode is not used inside WSL, where WSL itself is asked"
                );
            }
            Ok(Mode {
                view: ModeView {
                    mode: detected.mode,
                    source: detected.source,
                },
                ask_again: None,
            })
        }
        Err(error @ (ModeError::NotConfigured | ModeError::BadConfiguration(_))) => Err(error.into()),
        Err(error) => {
            let source = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(
                source,
                "the networking mode is unknown; nothing is exposed until WSL tells it"
            );
            let mode = NetworkMode::Unknown("unknown".to_owned());
            Ok(Mode {
                view: ModeView { mode, source },
                ask_again: Some(Instant::now() + MODE_RETRY),
            })
        }
    }
}

/// How the companion can be reached.
pub(super) fn route(
    config: &Config,
    fixed: Option<SocketAddr>,
    mode: &NetworkMode,
    network: &NetworkView,
) -> Route {
    let local = network
        .interfaces
        .values()
        .flat_map(|interface| &interface.addresses);
    let local = local.map(|(address, _)| *address).collect();
    if *mode != NetworkMode::Nat {
        let missing = format!("networking mode {mode}: Windows is not asked for anything in this mode yet");
        return Route {
            companion: None,
            missing,
            local,
        };
    }
    let companion = match (fixed, config.companion) {
        (Some(address), _) | (None, CompanionAddress::Fixed(address)) => Some(address),
        (None, CompanionAddress::DefaultGateway { port }) => network
            .default_gateway_v4
            .map(|(gateway, _)| SocketAddr::new(IpAddr::V4(gateway), port)),
    };
    let missing = match companion {
        Some(_) => String::new(),
        None => "there is no default route, so the address of Windows is unknown: restore the route, or name the address \
                 by `companion` in the config"
            .to_owned(),
    };
    Route {
        companion,
        missing,
        local,
    }
}

/// What every session opens with.
pub(super) fn hello() -> io::Result<OpenSession> {
    Ok(OpenSession {
        protocol: wslnet_protocol::VERSION,
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")?
            .trim()
            .to_owned(),
        pid_namespace: fs::metadata("/proc/self/ns/pid")?.ino(),
        daemon: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
