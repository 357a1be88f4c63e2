//! Can listeners be looked for cheaply, and has anybody in the VM taken the companion's port?

use wslnet_protocol::{DEFAULT_PORT, Protocol};

use super::finding::Finding;
use super::scene::Scene;
use crate::config::Config;
use crate::listeners::{Scanner, Socket, Source, SourceChoice, UdpInterest};
use crate::network::NetworkMode;

/// What was seen: the source in use, and the sockets that it knows.
type Seen = Result<(Source, Vec<Socket>), String>;

pub(super) fn check(scene: &Scene) -> Vec<Finding> {
    let choice = scene
        .config
        .as_ref()
        .map_or(SourceChoice::Auto, |config: &Config| config.source);
    let seen = Scanner::open(choice, UdpInterest::default())
        .map_err(|error| wslnet_console::output::chain(&error))
        .and_then(|mut scanner| {
            let sockets = scanner.scan().map_err(|error| error.to_string())?;
            Ok((scanner.source_in_use(), sockets))
        });
    let port = scene.companion().map_or(DEFAULT_PORT, |address| address.port());
    let is_nat = scene
        .mode
        .as_ref()
        .is_ok_and(|detected| detected.mode == NetworkMode::Nat);
    judge(&seen, port, is_nat)
}

fn judge(seen: &Seen, port: u16, is_nat: bool) -> Vec<Finding> {
    let (source, sockets) = match seen {
        Ok(seen) => seen,
        Err(error) => {
            return vec![Finding::fail(
                error,
                "set source = \"auto\" in the config; if that does not help, see that /proc is mounted",
            )];
        }
    };
    let mut findings = vec![match source {
        Source::SockDiag => Finding::ok("listeners come from sock_diag"),
        Source::Procfs => Finding::warn(
            "listeners come from /proc/net, which costs more the more connections there are",
            "use a kernel with CONFIG_INET_DIAG, as WSL's own, and source = \"auto\"",
        ),
    }];
    let is_taken = |socket: &&Socket| socket.protocol == Protocol::Tcp && socket.address.port() == port;
    if let Some(taken) = sockets.iter().find(is_taken) {
        let text = format!(
            "something in the VM listens at {}, the companion's port",
            taken.address
        );
        let fix = format!("`sudo ss -ltnp 'sport = {port}'` names it: end it, or move it to another port");
        findings.push(if is_nat {
            // Windows has an address of its own there.
            Finding::warn(text, fix)
        } else {
            Finding::fail(format!("{text}, and gets the connections to it"), fix)
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn at(port: u16) -> Socket {
        Socket {
            protocol: Protocol::Tcp,
            address: SocketAddr::from(([0, 0, 0, 0], port)),
            v6only: None,
            uid: 0,
            inode: 1,
            cookie: Some(1),
            interface: None,
        }
    }

    fn levels(seen: &Seen, is_nat: bool) -> Vec<&'static str> {
        let findings = judge(seen, 9756, is_nat);
        findings.iter().map(|finding| finding.level.word()).collect()
    }

    #[test]
    fn a_taken_port_matters_most_where_windows_shares_the_address() {
        let free = Ok((Source::SockDiag, vec![at(8000)]));
        let taken = Ok((Source::SockDiag, vec![at(8000), at(9756)]));

        assert_eq!(levels(&free, false), ["ok"]);
        assert_eq!(levels(&taken, true), ["ok", "warn"]);
        assert_eq!(levels(&taken, false), ["ok", "fail"]);
    }

    #[test]
    fn the_slow_source_is_a_warning_and_none_a_failure() {
        assert_eq!(levels(&Ok((Source::Procfs, Vec::new())), true), ["warn"]);
        assert_eq!(levels(&Err("no /proc".to_owned()), true), ["fail"]);
    }
}
