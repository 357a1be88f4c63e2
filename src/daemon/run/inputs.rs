//! What the event loop starts from: the way to the companion, who this daemon is.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::{fs, io};

use wslnet_console::output::print_to_stderr;
use wslnet_protocol::OpenSession;

use super::ConfigRefused;
use crate::config::{self, CompanionAddress, Config, ConfigFiles};
use crate::network::{NetworkMode, NetworkView};
use crate::push::Route;

/// The configuration to start with. A report of what is wrong with it goes to stderr.
pub(super) fn config(files: &mut ConfigFiles) -> Result<Config, ConfigRefused> {
    let config = files.read().and_then(config::parse).map_err(|reports| {
        print_to_stderr(&reports.render(false));
        let summary = reports.summary();
        ConfigRefused(format!(
            "{summary}: nothing is exposed before the configuration is mended"
        ))
    })?;
    warn(&config);
    Ok(config)
}

/// Logs what is odd about a configuration that is right as such.
pub(super) fn warn(config: &Config) {
    for warning in config::warnings(config) {
        tracing::warn!(warning, "the configuration may not mean what it should");
    }
}

/// How the companion can be reached.
pub(crate) fn route(
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_bad_configuration_is_told_apart_from_other_failures() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("config.toml");
        fs::write(&path, "opt-in = []\n").unwrap();

        let error = anyhow::Error::from(config(&mut ConfigFiles::new(path.clone(), true)).unwrap_err());

        assert!(error.is::<ConfigRefused>());
        assert!(error.to_string().contains("config.toml:1"), "{error}");
        fs::write(&path, "").unwrap();
        assert!(config(&mut ConfigFiles::new(path, true)).is_ok());
    }
}
