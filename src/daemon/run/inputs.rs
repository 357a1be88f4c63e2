//! What the event loop starts from: the way to the companion, who this daemon is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::{fs, io};

use wslnet_console::output::print_to_stderr;
use wslnet_protocol::{Mode, OpenSession, Protocol};

use super::ConfigRefused;
use crate::config::{self, CompanionAddress, Config, ConfigFiles};
use crate::network::{NetworkMode, NetworkView};
use crate::picture::{Entry, Picture};
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

/// How the companion can be reached. What else listens in the VM is in `picture`, as soon as that is known.
pub(crate) fn route(
    config: &Config,
    fixed: Option<SocketAddr>,
    mode: &NetworkMode,
    network: &NetworkView,
    picture: Option<&Picture>,
) -> Route {
    let local = network
        .interfaces
        .values()
        .flat_map(|interface| &interface.addresses);
    let local = local.map(|(address, _)| *address).collect();
    let Some(mode) = mode.of_session() else {
        return Route {
            companion: None,
            mode: Mode::Nat,
            missing: format!("networking mode {mode}: there is nothing to ask Windows for"),
            local,
        };
    };
    let companion = match (fixed, config.companion) {
        (Some(address), _) | (None, CompanionAddress::Fixed(address)) => Some(address),
        // The gateway is the router of the local network there, and Windows has the VM's own addresses.
        (None, CompanionAddress::Default { port }) if mode.shares_ports() => {
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        }
        (None, CompanionAddress::Default { port }) => network
            .default_gateway_v4
            .map(|(gateway, _)| SocketAddr::new(IpAddr::V4(gateway), port)),
    };
    let in_the_way = companion.and_then(|companion| in_the_way(companion, picture?));
    let missing = match (companion, &in_the_way) {
        (_, Some(reason)) => reason.clone(),
        (Some(_), None) => String::new(),
        (None, None) => "there is no default route, so the address of Windows is unknown: restore the route, or name the address \
                         by `companion` in the config"
            .to_owned(),
    };
    Route {
        companion: companion.filter(|_| in_the_way.is_none()),
        mode,
        missing,
        local,
    }
}

/// Why nothing that is sent to this address leaves the VM: on the loopback address a program of this distro that has the port is
/// nearer than Windows, and would get what is meant for the companion.
fn in_the_way(companion: SocketAddr, picture: &Picture) -> Option<String> {
    if !companion.ip().is_loopback() {
        return None;
    }
    let is_nearer = |entry: &&Entry| {
        let socket = &entry.listener.socket;
        entry.is_ours()
            && socket.protocol == Protocol::Tcp
            && socket.address.port() == companion.port()
            && (socket.canonical_ip() == companion.ip() || (socket.is_wildcard() && socket.takes_v4()))
    };
    let entry = picture.entries.iter().find(is_nearer)?;
    let name = entry.labels.get("process").unwrap_or("a program");
    Some(format!(
        "{name} of this distro listens on port {}, so {companion} leads to it and not to wslnet-companion on Windows: stop it, or choose \
         another port by `companion` in the config and `listen` in companion.toml",
        companion.port()
    ))
}

/// What every session opens with, but for the mode, which its route names.
pub(super) fn hello() -> io::Result<OpenSession> {
    Ok(OpenSession {
        protocol: wslnet_protocol::VERSION,
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")?
            .trim()
            .to_owned(),
        pid_namespace: fs::metadata("/proc/self/ns/pid")?.ino(),
        mode: Mode::Nat,
        daemon: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::picture::fixture::{World, bound, foreign, ours};

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

    #[test]
    fn the_mode_says_where_windows_is() {
        let config = config::parse(Vec::new()).unwrap();
        let route = |mode: NetworkMode| route(&config, None, &mode, &network(), None);
        let gateway = SocketAddr::from(([172, 28, 0, 1], 9756));
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 9756));

        for (mode, companion, named) in [
            (NetworkMode::Nat, gateway, Mode::Nat),
            (NetworkMode::Mirrored, here, Mode::Mirrored),
            (NetworkMode::VirtioProxy, here, Mode::VirtioProxy),
        ] {
            let route = route(mode);
            assert_eq!((route.companion, route.mode), (Some(companion), named));
        }
        for mode in [
            NetworkMode::Bridged,
            NetworkMode::None,
            NetworkMode::Wsl1,
            NetworkMode::Unknown("new".into()),
        ] {
            let route = route(mode.clone());
            assert_eq!(route.companion, None);
            assert!(route.missing.contains(&mode.to_string()), "{}", route.missing);
        }
    }

    #[test]
    fn a_program_that_is_nearer_than_windows_is_told_and_not_spoken_to() {
        let config = config::parse(Vec::new()).unwrap();
        let to = |listeners: Vec<crate::observe::Listener>, mode: &NetworkMode| {
            let picture = World::with(listeners).picture();
            let route = route(&config, None, mode, &network(), Some(&picture));
            (route.companion.is_some(), route.missing)
        };

        let (known, missing) = to(vec![ours(1, 9756)], &NetworkMode::Mirrored);

        assert!(
            !known && missing.starts_with("node of this distro listens on port 9756"),
            "{missing}"
        );
        let local = bound(1, Ipv4Addr::LOCALHOST.into(), 9756);
        assert!(!to(vec![local], &NetworkMode::VirtioProxy).0);
        // The gateway is another machine; and a socket of another distro may be Windows' own.
        assert!(to(vec![ours(1, 9756)], &NetworkMode::Nat).0);
        assert!(to(vec![foreign(1, 9756), ours(2, 9757)], &NetworkMode::Mirrored).0);
    }

    fn network() -> NetworkView {
        NetworkView {
            default_gateway_v4: Some(([172, 28, 0, 1].into(), 2)),
            ..NetworkView::default()
        }
    }
}
