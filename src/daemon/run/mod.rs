//! `wslnetd run`: the one event loop. A change of anything (listeners, network, companion, configuration) wakes it; it joins
//! a new [`Picture`], and whatever differs from before goes out.

mod beginning;
mod changes;
mod distro;
mod inputs;
mod mode;
mod service;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::signal::unix::SignalKind;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use wslnet_console::control::{self as endpoint, Endpoint};
use wslnet_hosts::{Keeper, Names};
use wslnet_protocol::ForwardSet;

pub(crate) use self::inputs::route;

use self::beginning::Beginning;
use self::changes::Changes;
use self::distro::Distro;
use self::mode::Mode;
use self::service::{Signals, Watchdog};
use crate::bridge::{self, BridgeStates, BridgeWants};
use crate::config::{self, Config, ConfigFiles};
use crate::containers::{self, Containers, Demand};
use crate::control::{self, ReloadRequest, Reloaded};
use crate::damper::{Damper, Held};
use crate::hosts;
use crate::listeners::WakeUp;
use crate::network::{NetworkView, Watcher};
use crate::observe::{Observed, Observer};
use crate::picture::{Inputs, Picture, Pushed};
use crate::policy::Policy;
use crate::push::{CompanionView, Identity, Pusher, Route};
use crate::report;
use crate::systemd::Manager;
use crate::units;

/// How long the goodbye and the end of all tasks may take. Less than the unit's TimeoutStopSec.
const STOP_TIME: Duration = Duration::from_secs(4);

/// Where the daemon keeps its files.
#[derive(Clone, Debug)]
pub struct Places {
    /// The configuration file.
    pub config: PathBuf,
    /// Whether a person named the configuration file.
    pub config_named: bool,
    /// The key and the trusted key.
    pub state_dir: PathBuf,
    /// The control endpoint.
    pub run_dir: PathBuf,
}

/// The configuration keeps the daemon from starting. Starting again is of no use before somebody mends it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigRefused(String);

/// Runs until SIGTERM or SIGINT. `companion` overrides the configured address.
///
/// # Errors
/// What keeps the daemon from starting ([`ConfigRefused`] if it is the configuration), and the end of a part that must not
/// end.
pub async fn run(places: &Places, companion: Option<SocketAddr>) -> anyhow::Result<()> {
    // First of all: until then, a signal kills.
    let hangup = Signals::new(&[SignalKind::hangup()])?;
    let end = Signals::new(&[SignalKind::terminate(), SignalKind::interrupt()])?;
    let mut config_files = ConfigFiles::new(places.config.clone(), places.config_named);
    let config = inputs::config(&mut config_files)?;
    let mode = Mode::find_out(&config).map_err(|error| ConfigRefused(error.to_string()))?;
    let key = wslnet_link::load_or_create(&places.state_dir).context("cannot use the key")?;
    let commands = std::fs::create_dir_all(&places.run_dir)
        .and_then(|()| endpoint::listen(&Endpoint::in_run_dir(&places.run_dir, control::NAME)))
        .with_context(|| format!("cannot open the control endpoint in {}", places.run_dir.display()))?;
    let watcher = Watcher::open().await.context("cannot watch the network")?;
    let observer = Observer::start(config.source, config.udp_interest(), WakeUp::best())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), key = %key.public(), config = %places.config.display(),
        "wslnetd starts"
    );

    let stop = CancellationToken::new();
    let first_route = inputs::route(
        &config,
        companion,
        &mode.view().mode,
        &watcher.views().borrow(),
        None,
    );
    let (route, route_seen) = watch::channel(first_route);
    let (wanted, wanted_seen) = watch::channel(None);
    let (view, companion_seen) = watch::channel(CompanionView::default());
    let identity = Identity {
        key,
        state_dir: places.state_dir.clone(),
        hello: inputs::hello().context("cannot read /proc")?,
    };
    let pusher = tokio::spawn(Pusher::new(identity, route_seen, wanted_seen, view, stop.clone()).run());

    let (bridge_wants, bridges) = bridge::spawn(stop.clone());
    let (demand, containers) = containers::watch(containers::Places::default(), stop.clone());
    let units = units::Watch::start(units::Places::default(), stop.clone());

    let mut daemon = Daemon {
        policy: Arc::new(Policy::new(&config)),
        distro: Distro::find_out(&config),
        config,
        config_files,
        config_error: None,
        fixed_companion: companion,
        mode,
        observed: observer.observed(),
        observer,
        network: watcher.views(),
        _watcher: watcher,
        companion: companion_seen,
        route,
        wanted,
        bridge_wants,
        bridges,
        demand,
        containers,
        units,
        hosts: hosts::keep(hosts::Places::default()),
        pushed: Pushed::default(),
        changes: Changes::default(),
        damper: Damper::default(),
        held: Held::default(),
        own_pid: nix::unistd::getpid().as_raw(),
        recheck: None,
        beginning: Beginning::default(),
        manager: Manager::default(),
    };
    let (picture, picture_seen) = watch::channel(daemon.picture(None));
    let (reload, reloads) = mpsc::channel(1);
    let commands = tokio::spawn(control::serve(commands, picture_seen, reload, stop.clone()));
    let outcome = daemon
        .live(
            &picture,
            reloads,
            Tasks {
                pusher,
                commands,
                stop,
            },
            hangup,
            end,
        )
        .await;
    daemon.observer.stop();
    outcome
}

/// The event loop's state.
struct Daemon {
    config_files: ConfigFiles,
    config: Config,
    policy: Arc<Policy>,
    config_error: Option<String>,
    fixed_companion: Option<SocketAddr>,
    mode: Mode,
    distro: Distro,
    observer: Observer,
    observed: watch::Receiver<Observed>,
    network: watch::Receiver<NetworkView>,
    _watcher: Watcher,
    companion: watch::Receiver<CompanionView>,
    route: watch::Sender<Route>,
    wanted: watch::Sender<Option<Arc<ForwardSet>>>,
    bridge_wants: watch::Sender<BridgeWants>,
    bridges: watch::Receiver<BridgeStates>,
    demand: watch::Sender<Demand>,
    containers: watch::Receiver<Containers>,
    units: units::Watch,
    hosts: Keeper,
    pushed: Pushed,
    changes: Changes,
    damper: Damper,
    held: Held,
    own_pid: i32,
    /// When to join a new picture although nothing changed.
    recheck: Option<Instant>,
    beginning: Beginning,
    manager: Manager,
}

/// What runs beside the loop, and how to end it.
struct Tasks {
    pusher: JoinHandle<()>,
    commands: JoinHandle<()>,
    stop: CancellationToken,
}

impl Daemon {
    async fn live(
        &mut self,
        picture: &watch::Sender<Picture>,
        mut reloads: mpsc::Receiver<ReloadRequest>,
        mut tasks: Tasks,
        mut hangup: Signals,
        mut end: Signals,
    ) -> anyhow::Result<()> {
        let mut watchdog = Watchdog::new(self.manager.watchdog());
        loop {
            self.refresh(picture).await;
            tokio::select! {
                changed = self.observed.changed() => changed.context("the observer ended")?,
                changed = self.network.changed() => changed.context("the network watcher ended")?,
                changed = self.companion.changed() => changed.context("the pusher ended")?,
                changed = self.bridges.changed() => changed.context("the task of the bridges ended")?,
                changed = self.containers.changed() => changed.context("the watch of containers ended")?,
                changed = self.units.changed() => changed.context("the task that asks systemd ended")?,
                Some(answer) = reloads.recv() => {
                    let refused = self.reload().err();
                    self.refresh(picture).await;
                    if answer.send(Reloaded { refused }).is_err() {
                        tracing::debug!("nobody waited for the reload");
                    }
                }
                () = hangup.next() => {
                    self.manager.reloading();
                    if let Err(report) = self.reload() {
                        tracing::error!(report, "the changed configuration was refused");
                    }
                    self.manager.reloaded();
                }
                () = self.hosts.changed() => {}
                () = until(self.held.next()) => {}
                () = until(self.recheck) => {}
                () = self.mode.changed() => {}
                () = self.distro.changed() => {}
                () = watchdog.tick() => watchdog.feed(&self.observer, &self.manager),
                () = end.next() => break,
                ended = &mut tasks.pusher => bail!("the pusher ended: {ended:?}"),
                ended = &mut tasks.commands => bail!("the control endpoint ended: {ended:?}"),
            }
            if !self.observer.is_running() {
                bail!("the thread that watches for listeners ended");
            }
        }
        self.manager.stopping();
        tasks.stop.cancel();
        let (goodbye, ()) = tokio::join!(timeout(STOP_TIME, tasks.pusher), self.hosts.close(STOP_TIME));
        if goodbye.is_err() {
            tracing::warn!("the goodbye took too long; the ports close when the lease ends");
        }
        Ok(())
    }

    /// Joins a new picture and sends out what differs.
    async fn refresh(&mut self, picture: &watch::Sender<Picture>) {
        self.observed.mark_unchanged();
        self.ask_systemd().await;
        self.network.mark_unchanged();
        self.companion.mark_unchanged();
        self.bridges.mark_unchanged();
        self.containers.mark_unchanged();
        self.units.mark_unchanged();
        self.ask_engines();
        self.look_for_flapping();

        let new = self.picture(Some(&picture.borrow()));
        if new.companion.applied {
            self.pushed.settle();
        }
        self.pushed.note_answers(&new);
        self.pushed.forget_closed_ports(&new);
        self.recheck = new.recheck;
        if let Some(set) = new.set(&self.pushed) {
            if self.may_push() {
                let bridges = new.bridge_wants();
                self.bridge_wants
                    .send_if_modified(|before| replace(before, bridges));
                if self.beginning.is_over(&new, Instant::now()) {
                    self.pushed.remember(&new);
                    self.wanted
                        .send_if_modified(|before| replace(before, Some(Arc::new(set))));
                    self.journal(&new);
                } else {
                    self.recheck = earliest(self.recheck, self.beginning.end());
                }
            }
            self.manager.ready();
        }
        // After the set: a companion that is found now must not get an outdated one.
        let route = inputs::route(
            &self.config,
            self.fixed_companion,
            &self.mode.view().mode,
            &self.network.borrow(),
            Some(&new),
        );
        self.route.send_if_modified(|before| replace(before, route));
        self.manager.status(&report::status_line(&new));
        let names = if self.config.hosts {
            hosts::names(&new, &self.network.borrow())
        } else {
            Names::default()
        };
        self.hosts.want(names);
        picture.send_replace(new);
    }

    /// Whether all is known that verdicts hang on. Earlier, a set would close what the daemon's predecessor had opened, or
    /// open what must stay private.
    fn may_push(&self) -> bool {
        self.mode.is_settled()
            && self.units.is_ready()
            && (self.distro.is_settled() || !self.config.names_distro())
    }

    /// Tells the journal what became of listeners.
    fn journal(&mut self, picture: &Picture) {
        let news = self.changes.look(picture);
        for line in news.lines {
            let changes::Line {
                address,
                process,
                state,
                reason,
                windows,
            } = line;
            tracing::info!(%address, process, state, reason, windows, "listener");
        }
        if news.left_out > 0 {
            tracing::info!(
                count = news.left_out,
                "more listeners changed; `wslnetd list` shows them all"
            );
        }
    }

    /// All that is known now; `before` is what was known at last.
    fn picture(&self, before: Option<&Picture>) -> Picture {
        let hosts = self.config.hosts.then(|| hosts::summary(&self.hosts.told()));
        Picture::join(&Inputs {
            observed: &self.observed.borrow(),
            network: &self.network.borrow(),
            mode: self.mode.view(),
            policy: &self.policy,
            held: &self.held,
            containers: &self.containers.borrow(),
            units: &self.units.units(),
            bridges: &self.bridges.borrow(),
            distro: self.distro.name(),
            distro_is_missing: self.distro.is_settled()
                && self.distro.name().is_none()
                && self.config.names_distro(),
            own_pid: self.own_pid,
            companion: &self.companion.borrow(),
            hosts: hosts.as_deref(),
            config_error: self.config_error.as_deref(),
            before,
            now: Instant::now(),
        })
    }

    /// Has those engines asked whose listeners are there.
    fn ask_engines(&self) {
        let observed = self.observed.borrow();
        let demand = observed
            .last
            .as_ref()
            .map(|last| containers::demand(&last.listeners));
        let demand = demand.unwrap_or_default();
        self.demand.send_if_modified(|before| replace(before, demand));
    }

    /// Has systemd asked what the units of those listeners say, and gives it a moment to answer.
    async fn ask_systemd(&mut self) {
        let observed = self.observed.borrow().last.clone();
        let listeners = observed.as_ref().map(|last| last.listeners.as_slice());
        self.units.follow(listeners.unwrap_or_default()).await;
    }

    fn look_for_flapping(&mut self) {
        let observed = self.observed.borrow();
        let Some(last) = &observed.last else { return };
        let ours = last.listeners.iter().filter(|listener| listener.owner.is_some());
        let doors = ours.map(|listener| (listener.socket.port(), listener.socket.uid));
        self.held = self.damper.look(&doors.collect(), Instant::now());
    }

    /// Reads the configuration again. A bad one changes nothing; the rendered report says what is wrong with it.
    fn reload(&mut self) -> Result<(), String> {
        let read = self
            .config_files
            .read()
            .and_then(config::parse)
            .map_err(|reports| reports.render(false));
        let taken_over = read.and_then(|config| self.take_over(config));
        self.config_error = taken_over.as_ref().err().cloned();
        taken_over
    }

    /// Puts the configuration in force, or changes nothing and says why, in whole lines.
    fn take_over(&mut self, config: Config) -> Result<(), String> {
        let mode = if config.mode_outside_wsl == self.config.mode_outside_wsl {
            None
        } else {
            Mode::find_out_again(&config).map_err(|error| format!("{error}\n"))?
        };
        let (source, udp) = (config.source, config.udp_interest());
        if source != self.config.source || udp != self.config.udp_interest() {
            let looking = self.observer.look_by(source, udp);
            looking.map_err(|error| format!("{:#}\n", anyhow::Error::from(error)))?;
        }

        if let Some(mode) = mode {
            self.mode = mode;
        }
        if config.distro != self.config.distro {
            self.distro.find_out_again(&config);
        }
        inputs::warn(&config);
        self.policy = Arc::new(Policy::new(&config));
        self.config = config;
        tracing::info!(file = %self.config_files.path().display(), "the configuration was read again");
        Ok(())
    }
}

/// Puts a new value in place; says whether it is another one.
fn replace<T: PartialEq>(place: &mut T, value: T) -> bool {
    let changed = *place != value;
    if changed {
        *place = value;
    }
    changed
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// Waits until the moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
