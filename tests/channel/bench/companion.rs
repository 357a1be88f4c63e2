//! A companion in this process, put together as `wslnet-companion run` does it, with its state in a folder of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wslnet_companion::api::{self, Connections};
use wslnet_companion::config::WatchedConfig;
use wslnet_companion::control_address::ControlAddress;
use wslnet_companion::engine::{Engine, ForwardReport, Parts, StatusReport, Work};
use wslnet_companion::form::Form;
use wslnet_companion::host;
use wslnet_companion::names::Naming;
use wslnet_companion::trust::Trust;
use wslnet_console::diagnose::ConfigFile;
use wslnet_link::PublicKey;

/// A running companion. It stops when it is dropped.
#[derive(Debug)]
pub struct Companion {
    /// Where its control port listens.
    pub address: SocketAddr,
    /// Its public key.
    pub key: PublicKey,
    state: Arc<TempDir>,
    engine: Engine,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Companion {
    /// Starts on a free port of loopback and trusts these keys from the beginning.
    pub fn start(trusted: &[(&str, PublicKey)]) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), trusted)
    }

    /// The same at another address.
    pub fn start_at(address: IpAddr, trusted: &[(&str, PublicKey)]) -> Self {
        let state = TempDir::new().unwrap();
        for (name, key) in trusted {
            wslnet_link::trust(state.path(), name, *key).unwrap();
        }
        let port = host::bind_control(SocketAddr::new(address, 0)).unwrap();
        Self::run(Arc::new(state), port)
    }

    /// Stops as the program does, and waits for the end.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
    }

    /// Starts again with the same state at the same address.
    pub fn start_again(&mut self) {
        let port = host::bind_control(self.address).unwrap();
        let state = self.state.clone();
        *self = Self::run(state, port);
    }

    /// Withdraws the trust in a key, as the command does.
    pub fn untrust(&self, name: &str) {
        wslnet_link::untrust(self.state.path(), name).unwrap();
    }

    /// Trusts a key, as the command does.
    pub fn trust(&self, name: &str, key: PublicKey) {
        wslnet_link::trust(self.state.path(), name, key).unwrap();
    }

    /// What `status` and `list` show.
    pub async fn report(&self) -> (StatusReport, Vec<ForwardReport>) {
        self.engine.report().await.unwrap()
    }

    /// The ports of Windows that are asked for, in order.
    pub async fn ports(&self) -> Vec<u16> {
        self.report().await.1.iter().map(|forward| forward.port).collect()
    }

    /// The distros that have a session or a living set.
    pub async fn distros(&self) -> Vec<String> {
        let (status, _) = self.report().await;
        status.distros.into_iter().map(|entry| entry.distro).collect()
    }

    fn run(state: Arc<TempDir>, port: std::net::TcpListener) -> Self {
        let key = wslnet_link::load_or_create(state.path()).unwrap();
        let trust = Trust::load(state.path()).unwrap();
        let tls = wslnet_link::server_config(&key, Arc::new(trust.clone())).unwrap();
        let mut config_file = WatchedConfig::new(ConfigFile::new(state.path().join("companion.toml"), false));
        let config = config_file.load().unwrap();
        let listener = TcpListener::from_std(port).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::default();
        let (work, engine) = Work::new(Parts {
            config,
            config_file,
            control: address,
            place: ControlAddress { named: Some(address) },
            trust: trust.clone(),
            connections: connections.clone(),
            state_dir: state.path().to_owned(),
            naming: Naming::start(None, false),
            form: Form::default(),
            rights: vec![],
            resumed: Arc::default(),
        });
        let stop = CancellationToken::new();
        let api = api::serve(
            listener,
            Arc::new(tls),
            trust,
            engine.clone(),
            connections,
            stop.clone(),
        );
        let work = work.run(stop.clone());
        let tasks = vec![tokio::spawn(api), tokio::spawn(async { drop(work.await) })];
        Self {
            address,
            key: key.public(),
            state,
            engine,
            stop,
            tasks,
        }
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
