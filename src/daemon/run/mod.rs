//! `wslnetd run`: the one event loop. A change of anything (listeners, network, companion, configuration) wakes it; it joins
//! a new [`Picture`], and whatever differs from before goes out.

mod inputs;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use wslnet_console::control::{self as endpoint, Endpoint};
use wslnet_console::diagnose::ConfigFile;
use wslnet_console::output::print_to_stderr;
use wslnet_protocol::{ForwardId, ForwardSet};

use crate::config::{self, Config};
use crate::control::{self, ReloadRequest, Reloaded};
use crate::damper::{Damper, Held};
use crate::listeners::WakeUp;
use crate::network::{NetworkView, Watcher};
use crate::observe::{Observed, Observer};
use crate::picture::{Inputs, Picture};
use crate::policy::Policy;
use crate::push::{CompanionView, Identity, Pusher, Route};
use crate::report;
use crate::systemd::Manager;

/// How often listeners are looked for.
const POLL: Duration = Duration::from_millis(100);
/// How long the goodbye and the end of all tasks may take. Less than the unit's TimeoutStopSec.
const STOP_TIME: Duration = Duration::from_secs(4);
/// When to ask for the networking mode again after WSL gave no answer.
const MODE_RETRY: Duration = Duration::from_secs(10);

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

/// Runs until SIGTERM or SIGINT. `companion` overrides the configured address.
///
/// # Errors
/// What keeps the daemon from starting, and the end of a part that must not end.
pub async fn run(places: &Places, companion: Option<SocketAddr>) -> anyhow::Result<()> {
    let mut config_file = ConfigFile::new(places.config.clone(), places.config_named);
    let config = match config_file.read().and_then(config::parse) {
        Ok(config) => config,
        Err(report) => {
            print_to_stderr(&report.render(false));
            bail!(
                "{}: nothing is exposed before the configuration is mended",
                report.summary()
            );
        }
    };
    let mode = inputs::mode(&config)?;
    let key = wslnet_link::load_or_create(&places.state_dir).context("cannot use the key")?;
    let commands = endpoint::listen(&Endpoint::in_run_dir(&places.run_dir, control::NAME))
        .with_context(|| format!("cannot open the control endpoint in {}", places.run_dir.display()))?;
    let watcher = Watcher::open().await.context("cannot watch the network")?;
    let observer = Observer::start(config.source, WakeUp::Poll { every: POLL })?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), key = %key.public(), mode = %mode.view.mode, config = %places.config.display(),
        "wslnetd starts"
    );

    let stop = CancellationToken::new();
    let first_route = inputs::route(&config, companion, &mode.view.mode, &watcher.views().borrow());
    let (route, route_seen) = watch::channel(first_route);
    let (wanted, wanted_seen) = watch::channel(None);
    let (view, companion_seen) = watch::channel(CompanionView::default());
    let identity = Identity {
        key,
        state_dir: places.state_dir.clone(),
        hello: inputs::hello().context("cannot read /proc")?,
    };
    let pusher = tokio::spawn(Pusher::new(identity, route_seen, wanted_seen, view, stop.clone()).run());

    let mut daemon = Daemon {
        policy: Policy::new(&config),
        config,
        config_file,
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
        pushed: BTreeSet::new(),
        damper: Damper::default(),
        held: Held::default(),
        manager: Manager::default(),
    };
    let (picture, picture_seen) = watch::channel(daemon.picture());
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
        )
        .await;
    daemon.observer.stop();
    outcome
}

/// The event loop's state.
struct Daemon {
    config_file: ConfigFile,
    config: Config,
    policy: Policy,
    config_error: Option<String>,
    fixed_companion: Option<SocketAddr>,
    mode: inputs::Mode,
    observer: Observer,
    observed: watch::Receiver<Observed>,
    network: watch::Receiver<NetworkView>,
    _watcher: Watcher,
    companion: watch::Receiver<CompanionView>,
    route: watch::Sender<Route>,
    wanted: watch::Sender<Option<ForwardSet>>,
    /// The forwards that were asked for and whose listeners still live.
    pushed: BTreeSet<ForwardId>,
    damper: Damper,
    held: Held,
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
    ) -> anyhow::Result<()> {
        let mut hangup = Signals::new(&[SignalKind::hangup()])?;
        let mut end = Signals::new(&[SignalKind::terminate(), SignalKind::interrupt()])?;
        let mut watchdog = Watchdog::new(self.manager.watchdog());
        loop {
            self.refresh(picture);
            tokio::select! {
                changed = self.observed.changed() => changed.context("the observer ended")?,
                changed = self.network.changed() => changed.context("the network watcher ended")?,
                changed = self.companion.changed() => changed.context("the pusher ended")?,
                Some(answer) = reloads.recv() => {
                    let refused = self.reload().err();
                    self.refresh(picture);
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
                () = until(self.held.next()) => {}
                () = until(self.mode.ask_again) => self.mode = inputs::mode(&self.config)?,
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
        if timeout(STOP_TIME, tasks.pusher).await.is_err() {
            tracing::warn!("the goodbye took too long; the ports close when the lease ends");
        }
        Ok(())
    }

    /// Joins a new picture and sends out what differs.
    fn refresh(&mut self, picture: &watch::Sender<Picture>) {
        self.observed.mark_unchanged();
        self.network.mark_unchanged();
        self.companion.mark_unchanged();
        let route = inputs::route(
            &self.config,
            self.fixed_companion,
            &self.mode.view.mode,
            &self.network.borrow(),
        );
        self.route.send_if_modified(|before| replace(before, route));
        self.look_for_flapping();

        let new = self.picture();
        self.forget_dead_listeners(&new);
        if let Some(set) = new.set(&self.pushed) {
            self.pushed.extend(set.forwards.iter().map(|forward| forward.id));
            self.wanted.send_if_modified(|before| replace(before, Some(set)));
            self.manager.ready();
        }
        self.manager.status(&report::status_line(&new));
        picture.send_replace(new);
    }

    fn picture(&self) -> Picture {
        Picture::join(&Inputs {
            observed: &self.observed.borrow(),
            network: &self.network.borrow(),
            mode: &self.mode.view,
            policy: &self.policy,
            held: &self.held,
            companion: &self.companion.borrow(),
            config_error: self.config_error.as_deref(),
            now: Instant::now(),
        })
    }

    fn look_for_flapping(&mut self) {
        let observed = self.observed.borrow();
        let Some(last) = &observed.last else { return };
        let ours = last.listeners.iter().filter(|listener| listener.owner.is_some());
        let ports = ours.map(|listener| listener.socket.address.port()).collect();
        self.held = self.damper.look(&ports, Instant::now());
    }

    fn forget_dead_listeners(&mut self, picture: &Picture) {
        if picture.source.is_some() {
            let living = picture
                .entries
                .iter()
                .map(|entry| ForwardId(entry.listener.socket.id()));
            let living = living.collect::<BTreeSet<_>>();
            self.pushed.retain(|id| living.contains(id));
        }
    }

    /// Reads the configuration again. A bad one changes nothing; the rendered report says what is wrong with it.
    fn reload(&mut self) -> Result<(), String> {
        let read = self
            .config_file
            .read()
            .and_then(config::parse)
            .map_err(|report| report.render(false));
        let taken_over = read.and_then(|config| self.take_over(config));
        self.config_error = taken_over.as_ref().err().cloned();
        taken_over
    }

    fn take_over(&mut self, config: Config) -> Result<(), String> {
        if config.source != self.config.source {
            let observer = Observer::start(config.source, WakeUp::Poll { every: POLL });
            let observer = observer.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
            self.observed = observer.observed();
            std::mem::replace(&mut self.observer, observer).stop();
        }
        if config.mode_outside_wsl != self.config.mode_outside_wsl {
            self.mode = inputs::mode(&config).map_err(|error| format!("{error:#}"))?;
        }
        self.policy = Policy::new(&config);
        self.config = config;
        tracing::info!(file = %self.config_file.path().display(), "the configuration was read again");
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

/// Waits until the moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Several signals as one.
struct Signals(Vec<Signal>);

impl Signals {
    fn new(kinds: &[SignalKind]) -> anyhow::Result<Self> {
        let signals = kinds.iter().map(|kind| signal(*kind)).collect::<Result<_, _>>();
        Ok(Self(signals.context("cannot wait for signals")?))
    }

    async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let any = self
                .0
                .iter_mut()
                .any(|signal| signal.poll_recv(context).is_ready());
            if any {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}

/// Feeds the service manager's watchdog, but only while scans finish: a daemon that looks at nothing is of no use.
struct Watchdog {
    interval: Option<Interval>,
    pulse: u64,
}

impl Watchdog {
    fn new(every: Option<Duration>) -> Self {
        let interval = every.map(|every| {
            let mut interval = tokio::time::interval(every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        Self {
            interval,
            pulse: u64::MAX,
        }
    }

    async fn tick(&mut self) {
        match &mut self.interval {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    fn feed(&mut self, observer: &Observer, manager: &Manager) {
        let pulse = observer.pulse();
        if pulse != self.pulse {
            self.pulse = pulse;
            manager.alive();
        }
    }
}
