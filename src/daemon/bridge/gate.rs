//! Who may cross a bridge, asked for each connection.

use std::net::SocketAddr;

use tokio::sync::watch;
use wslnet_relay::Gate;

use super::BridgeWants;

/// Admits the companion and permits the services of bridges that are wanted, both as of the latest wants: also while the
/// ports are still being closed.
#[derive(Debug)]
pub(super) struct CompanionOnly {
    wants: watch::Receiver<BridgeWants>,
}

impl CompanionOnly {
    /// Asks these wants.
    pub(super) fn new(wants: watch::Receiver<BridgeWants>) -> Self {
        Self { wants }
    }
}

impl Gate for CompanionOnly {
    fn admits(&self, client: SocketAddr, _listener: SocketAddr) -> Result<(), String> {
        match self.wants.borrow().companion {
            Some(companion) if companion.to_canonical() == client.ip().to_canonical() => Ok(()),
            Some(companion) => Err(format!("a bridge serves the companion at {companion} only")),
            None => Err("a bridge serves the companion only, which is not connected".to_owned()),
        }
    }

    fn permits(&self, target: SocketAddr) -> Result<(), String> {
        let wants = self.wants.borrow();
        if wants.bridges.values().any(|bridge| bridge.target() == target) {
            Ok(())
        } else {
            Err("the bridge is not wanted any more".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::Bridge;
    use super::*;

    #[test]
    fn only_the_companion_of_now_is_admitted() {
        let (wants, gate) = gate();
        let admits = |client| gate.admits(client, "172.20.0.2:8000".parse().unwrap());
        let windows: SocketAddr = "172.20.0.1:50000".parse().unwrap();
        assert!(admits(windows).is_err(), "while nobody knows who it is");

        wants.send_modify(|wants| wants.companion = Some(windows.ip()));
        let mapped = "[::ffff:172.20.0.1]:50000".parse().unwrap();
        assert_eq!([admits(windows), admits(mapped)], [Ok(()), Ok(())]);
        for stranger in [
            "172.20.0.5:50000",
            "172.17.0.2:1",
            "127.0.0.1:1",
            "[::1]:1",
            "[fe80::1]:1",
        ] {
            assert!(admits(stranger.parse().unwrap()).is_err(), "{stranger}");
        }

        wants.send_modify(|wants| wants.companion = Some("172.20.0.2".parse().unwrap()));
        assert!(admits(windows).is_err(), "the former one");
    }

    #[test]
    fn only_services_of_wanted_bridges_are_permitted() {
        let (wants, gate) = gate();
        let service: SocketAddr = "127.0.0.1:5173".parse().unwrap();
        let mapped = Bridge {
            address: "172.20.0.5".parse().unwrap(),
            port: 5173,
            target: "[::ffff:127.0.0.1]:5173".parse().unwrap(),
        };

        wants.send_modify(|wants| {
            wants.bridges.insert(1, mapped);
        });
        assert_eq!(gate.permits(service), Ok(()));
        assert!(gate.permits("127.0.0.1:22".parse().unwrap()).is_err());

        wants.send_modify(|wants| wants.bridges.clear());
        assert!(gate.permits(service).is_err());
    }

    fn gate() -> (watch::Sender<BridgeWants>, CompanionOnly) {
        let (wants, seen) = watch::channel(BridgeWants::default());
        (wants, CompanionOnly::new(seen))
    }
}
