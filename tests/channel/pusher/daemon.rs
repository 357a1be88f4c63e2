//! A daemon of which nothing runs but the pusher.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wslnet_daemon::push::{COMPANION, CompanionView, Identity, LinkState, Pusher, Route};
use wslnet_link::{KeyPair, PublicKey};
use wslnet_protocol::{ForwardSet, OpenSession};

use crate::bench::{SOON, hello, set};

/// A running pusher and both ends of its channels.
#[derive(Debug)]
pub struct Daemon {
    /// Where the companion is said to be.
    pub route: watch::Sender<Route>,
    /// What is wanted.
    pub wanted: watch::Sender<Option<Arc<ForwardSet>>>,
    /// What is known of the companion.
    pub view: watch::Receiver<CompanionView>,
    state: TempDir,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Daemon {
    /// Starts with a companion at this address that has this key, and wants nothing yet.
    pub fn start(key: &KeyPair, address: SocketAddr, companion: PublicKey) -> Self {
        let daemon = Self::unpaired(key, address);
        daemon.trust(companion);
        daemon
    }

    /// Starts without the key of any companion.
    pub fn unpaired(key: &KeyPair, address: SocketAddr) -> Self {
        Self::with(key, address, hello())
    }

    /// Starts in a copy of the distro: the same VM, the same key, another PID namespace.
    pub fn copy(key: &KeyPair, address: SocketAddr, companion: PublicKey) -> Self {
        let pid_namespace = hello().pid_namespace + 1;
        let daemon = Self::with(
            key,
            address,
            OpenSession {
                pid_namespace,
                ..hello()
            },
        );
        daemon.trust(companion);
        daemon
    }

    fn with(key: &KeyPair, address: SocketAddr, hello: OpenSession) -> Self {
        let state = TempDir::new().unwrap();
        let (route, route_seen) = watch::channel(to(address, &[]));
        let (wanted, wanted_seen) = watch::channel(None);
        let (view_told, view) = watch::channel(CompanionView::default());
        let stop = CancellationToken::new();
        let identity = Identity {
            key: key.clone(),
            state_dir: state.path().to_owned(),
            hello,
        };
        let pusher = Pusher::new(identity, route_seen, wanted_seen, view_told, stop.clone());
        let task = tokio::spawn(pusher.run());
        Self {
            route,
            wanted,
            view,
            state,
            stop,
            task,
        }
    }

    /// Trusts the key of a companion, as the command does.
    pub fn trust(&self, companion: PublicKey) {
        wslnet_link::trust(self.state.path(), COMPANION, companion).unwrap();
    }

    /// Wants these ports.
    pub fn want(&self, ports: &[u16]) {
        self.wanted.send_replace(Some(Arc::new(set(ports))));
    }

    /// Waits until what is known of the companion is as expected.
    pub async fn sees(
        &mut self,
        limit: Duration,
        expected: impl Fn(&CompanionView) -> bool,
    ) -> CompanionView {
        let seen = timeout(limit, self.view.wait_for(|view| expected(view)))
            .await
            .map(|view| view.expect("the pusher lives").clone());
        seen.unwrap_or_else(|_| panic!("not within {limit:?}; seen last: {:?}", *self.view.borrow()))
    }

    /// Waits for the connection.
    pub async fn is_connected(&mut self) -> CompanionView {
        self.sees(SOON, |view| view.state == LinkState::Connected).await
    }

    /// Whether the pusher still runs: it did not panic.
    pub fn lives(&self) -> bool {
        !self.task.is_finished()
    }

    /// Stops as systemd would have it, and waits for the end.
    pub async fn stop(self) {
        self.stop.cancel();
        timeout(SOON, self.task).await.expect("an end in time").unwrap();
    }
}

/// A route to a companion, from a machine with these addresses.
pub fn to(companion: SocketAddr, local: &[IpAddr]) -> Route {
    Route {
        companion: Some(companion),
        mode: hello().mode,
        missing: String::new(),
        local: BTreeSet::from_iter(local.iter().copied()),
    }
}
