//! Can the companion's port be reached, and do both sides trust each other?

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::time::timeout;
use wslnet_link::{KEY_FILE, Peers};

use super::finding::Finding;
use super::scene::{Scene, block_on};
use crate::push::{COMPANION, Welcome, probe};

/// How long Windows may take to accept a connection: it is next door, and answers in a millisecond.
const CONNECT_LIMIT: Duration = Duration::from_millis(1500);
/// How long the handshake may take.
const PROBE_LIMIT: Duration = Duration::from_millis(1500);

/// How an attempt to connect came out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Connect {
    Accepted,
    Refused,
    Silent,
    Failed(String),
}

/// What is known of the trust between the two.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trust {
    /// Only root may use the key.
    NotAllowed,
    /// The distro has no key yet.
    NoKey,
    /// No companion is trusted here.
    NoPin,
    /// The files cannot be used.
    Unusable(String),
    /// The companion was asked.
    Asked(Welcome),
}

/// What was seen.
#[derive(Clone, Debug)]
struct Seen {
    address: Result<SocketAddr, String>,
    /// None where there is no address.
    connect: Option<Connect>,
    /// None where there is no connection.
    trust: Option<Trust>,
    /// What the running daemon says of its link, if it runs.
    daemon: Option<String>,
}

pub(super) fn check(scene: &Scene) -> Vec<Finding> {
    let address = scene.companion();
    let connect = address.as_ref().ok().map(|address| connect(*address));
    let trust = match (&address, &connect) {
        (Ok(address), Some(Connect::Accepted)) => Some(trust(scene, *address)),
        _ => None,
    };
    let daemon = scene
        .status
        .as_ref()
        .ok()
        .map(|status| status.companion.state.clone());
    judge(&Seen {
        address,
        connect,
        trust,
        daemon,
    })
}

fn connect(address: SocketAddr) -> Connect {
    let connected = TcpStream::connect_timeout(&address, CONNECT_LIMIT);
    let Err(error) = connected else {
        return Connect::Accepted;
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "the list of kinds is open")]
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Connect::Refused,
        io::ErrorKind::TimedOut => Connect::Silent,
        _ => Connect::Failed(error.to_string()),
    }
}

fn trust(scene: &Scene, address: SocketAddr) -> Trust {
    let state_dir = &scene.places.state_dir;
    if !scene.is_root {
        return Trust::NotAllowed;
    }
    let pin = match Peers::load(state_dir) {
        Ok(peers) => peers.get(COMPANION),
        Err(error) => return Trust::Unusable(wslnet_console::output::chain(&error)),
    };
    if !state_dir.join(KEY_FILE).exists() {
        return Trust::NoKey;
    }
    let Some(pin) = pin else {
        return Trust::NoPin;
    };
    let key = match wslnet_link::load_or_create(state_dir) {
        Ok(key) => key,
        Err(error) => return Trust::Unusable(wslnet_console::output::chain(&error)),
    };
    let asked = block_on(async { timeout(PROBE_LIMIT, probe(address, &key, pin)).await });
    Trust::Asked(match asked {
        Ok(Ok(welcome)) => welcome,
        Ok(Err(_)) => Welcome::Silent,
        Err(error) => Welcome::Failed(error),
    })
}

fn judge(seen: &Seen) -> Vec<Finding> {
    let address = match &seen.address {
        Ok(address) => address,
        Err(missing) => {
            return vec![Finding::fail(
                format!("the address of Windows is not known: {missing}"),
                "as the text says; `ip route` shows the default route, and `wsl --shutdown` on Windows makes a new one",
            )];
        }
    };
    let reached = match &seen.connect {
        Some(Connect::Accepted) => Finding::ok(format!("{address} accepts connections")),
        Some(Connect::Refused) => Finding::fail(
            format!("{address} refuses connections: wslnet-companion does not run, or listens elsewhere"),
            "start wslnet-companion on Windows (`wslnet-companion install` has it start by itself); `wslnet-companion status` there says where \
             it listens",
        ),
        Some(Connect::Silent) => Finding::fail(
            format!("{address} does not answer, as when a firewall drops what comes from the WSL adapter"),
            FIREWALL,
        ),
        Some(Connect::Failed(error)) => Finding::fail(
            format!("{address} cannot be reached: {error}"),
            "look at `ip route get` for that address, or correct `companion` in the config",
        ),
        None => Finding::skipped("no attempt to connect"),
    };
    let trusted = seen
        .trust
        .as_ref()
        .map(|trust| of_trust(trust, *address, seen.daemon.as_deref()));
    [Some(reached), trusted].into_iter().flatten().collect()
}

/// The way through Windows Firewall. A rule made by hand would stay when everything else is uninstalled.
const FIREWALL: &str = "run `wslnet-companion install` on Windows, which makes the rule that lets distros in, and asks for an \
                        administrator by itself. A rule that blocks wslnet-companion.exe wins: delete it in `wf.msc`";

fn of_trust(trust: &Trust, address: SocketAddr, daemon: Option<&str>) -> Finding {
    const PAIR: &str = "sudo wslnetd pair";
    match trust {
        Trust::NotAllowed => Finding::skipped(
            "only root may use the key of this distro: `sudo wslnetd doctor` checks the trust",
        ),
        Trust::NoKey => Finding::fail("this distro has no key yet, so it was never paired", PAIR),
        Trust::NoPin => Finding::fail("no companion is trusted here", PAIR),
        Trust::Unusable(error) => Finding::fail(error, "mend it as the text says, then `sudo wslnetd pair`"),
        // The files are right, and the daemon has read them.
        Trust::Asked(Welcome::Accepted) if daemon == Some("unpaired") => Finding::fail(
            "both sides trust each other, but the running daemon still uses another key than its file",
            "sudo systemctl restart wslnetd",
        ),
        Trust::Asked(Welcome::Accepted) => {
            Finding::ok("both sides have proven the keys that the other one trusts")
        }
        Trust::Asked(Welcome::NotTrustedThere) => Finding::fail(
            format!("the companion at {address} does not trust this distro's key"),
            PAIR,
        ),
        Trust::Asked(Welcome::NotTrustedHere) => Finding::fail(
            format!("whoever answers at {address} has another key than the companion that is trusted here"),
            "if wslnet-companion was reinstalled: sudo wslnetd pair. If not, something else has its port",
        ),
        Trust::Asked(Welcome::Silent) => Finding::fail(
            format!("{address} accepts connections and does not shake hands"),
            "restart wslnet-companion on Windows; if that does not help, something else has its port",
        ),
        Trust::Asked(Welcome::OtherVersion(text)) => Finding::fail(
            format!("the companion speaks another version of the protocol: {text}"),
            "install the same release of wslnetd and wslnet-companion",
        ),
        Trust::Asked(Welcome::Failed(text)) => {
            Finding::fail(text, "restart wslnet-companion on Windows, and see what it logs")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::words;
    use super::*;

    fn seen(connect: Connect, trust: Option<Trust>) -> Seen {
        Seen {
            address: Ok(SocketAddr::from(([172, 28, 0, 1], 9756))),
            connect: Some(connect),
            trust,
            daemon: Some("connected".to_owned()),
        }
    }

    fn fix(findings: &[Finding]) -> &str {
        let fix = findings.last().and_then(|finding| finding.fix.as_deref());
        fix.unwrap_or_default()
    }

    #[test]
    fn refusal_silence_and_no_way_have_causes_of_their_own() {
        let refused = judge(&seen(Connect::Refused, None));
        assert!(fix(&refused).contains("start wslnet-companion"), "{refused:?}");

        let silent = judge(&seen(Connect::Silent, None));
        assert!(fix(&silent).contains("`wslnet-companion install`"));

        let failed = judge(&seen(Connect::Failed("no route".to_owned()), None));
        assert!(fix(&failed).contains("ip route get"), "{failed:?}");

        let unknown = judge(&Seen {
            address: Err("there is no default route".to_owned()),
            connect: None,
            trust: None,
            daemon: None,
        });
        assert_eq!(
            words(&unknown),
            [(
                "fail",
                "the address of Windows is not known: there is no default route"
            )]
        );
    }

    #[test]
    fn what_is_wrong_with_the_trust_names_its_command() {
        let with = |trust| judge(&seen(Connect::Accepted, Some(trust)));
        for trust in [
            Trust::NoKey,
            Trust::NoPin,
            Trust::Asked(Welcome::NotTrustedThere),
            Trust::Asked(Welcome::NotTrustedHere),
        ] {
            let found = with(trust);
            assert_eq!(found[1].level.word(), "fail");
            assert!(fix(&found).contains("sudo wslnetd pair"), "{found:?}");
        }
        assert_eq!(with(Trust::Asked(Welcome::Accepted))[1].level.word(), "ok");
        assert_eq!(with(Trust::NotAllowed)[1].level.word(), "skip");
        let other = with(Trust::Asked(Welcome::OtherVersion("no such request".to_owned())));
        assert!(fix(&other).contains("same release"));
    }

    #[test]
    fn a_daemon_with_a_key_that_is_no_longer_on_the_disk_wants_a_restart() {
        let mut seen = seen(Connect::Accepted, Some(Trust::Asked(Welcome::Accepted)));
        seen.daemon = Some("unpaired".to_owned());

        assert!(fix(&judge(&seen)).contains("restart wslnetd"));
    }
}
