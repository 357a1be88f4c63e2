//! The event loop itself. Whatever happens, the same step follows: the ledger says who wants what, the plan says what
//! that means on this machine, the relays do it, and the states are compared with those that were told before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wslnet_protocol::{ForwardStatus, Problem, limits};

use super::{Command, Engine, exposure};
use crate::api::Connections;
use crate::apply::{ConnectionGate, Executor};
use crate::capability::Capability;
use crate::config::{Config, WatchedConfig};
use crate::control_address::ControlAddress;
use crate::event_log;
use crate::form::Form;
use crate::host::{self, Interface, SleepWatch};
use crate::ledger::{Ledger, SessionStatus, Terms};
use crate::names::{Naming, States};
use crate::plan::{self, Desired, Places, Surroundings};
use crate::trust::Trust;

/// How often leases, conflicts and changed files are looked at. A conflict is resolved within a second of its end.
const TICK: Duration = Duration::from_millis(250);
/// How many ports are tried at once for a forward that would take another one than it wants. The search goes on with the
/// next tick, so that one distro's forwards do not keep the others waiting.
const SEARCH: usize = 10;
/// Commands that may wait before the control port has to.
const QUEUE: usize = 64;

/// What the loop is made of.
#[derive(Debug)]
pub struct Parts {
    /// The configuration at start, and where it came from.
    pub config: Config,
    /// The file that is looked at again while the program runs.
    pub config_file: WatchedConfig,
    /// Where the control port listens.
    pub control: SocketAddr,
    /// Where it belongs.
    pub place: ControlAddress,
    /// The trusted keys.
    pub trust: Trust,
    /// The connections of the control port.
    pub connections: Connections,
    /// Where the key, the trusted keys and the journals are.
    pub state_dir: PathBuf,
    /// The hosts file.
    pub naming: Naming,
    /// In which form the program runs.
    pub form: Form,
    /// What it may do, as it was when it started.
    pub rights: Vec<Capability>,
    /// Notified when the system says that it woke up.
    pub resumed: Arc<Notify>,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop.
    Stopped,
    /// The control port belongs elsewhere now.
    Moved,
}

/// The event loop's state.
#[derive(Debug)]
pub struct Work {
    pub(super) parts: Parts,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) ledger: Ledger,
    pub(super) gate: Arc<ConnectionGate>,
    pub(super) executor: Executor,
    pub(super) interfaces: Vec<Interface>,
    pub(super) sleep: SleepWatch,
    pub(super) places: Places,
    pub(super) desired: Desired,
    pub(super) told: BTreeMap<String, Told>,
    pub(super) config_error: Option<String>,
    pub(super) trust_error: Option<String>,
}

/// The states of a distro's forwards as they were last computed.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) revision: u64,
    pub(super) forwards: Vec<ForwardStatus>,
}

impl Work {
    /// The loop and the handle that reaches it.
    pub fn new(parts: Parts) -> (Self, Engine) {
        let (sender, commands) = mpsc::channel(QUEUE);
        let gate = Arc::new(ConnectionGate::new(parts.control));
        let work = Self {
            ledger: Ledger::new(terms(&parts.config)),
            executor: Executor::new(parts.config.backend, gate.clone(), &parts.state_dir),
            gate,
            commands,
            interfaces: Vec::new(),
            sleep: SleepWatch::new(),
            places: Places::default(),
            desired: Desired::default(),
            told: BTreeMap::new(),
            config_error: None,
            trust_error: None,
            parts,
        };
        (work, Engine(sender))
    }

    /// Runs until `stop`, or until the control port belongs elsewhere; then closes everything.
    pub async fn run(mut self, stop: CancellationToken) -> (Ended, Parts) {
        let resumed = self.parts.resumed.clone();
        let mut changes = host::watch_changes();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.look_around();
        let ended = loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.execute(command).await,
                    None => break Ended::Stopped,
                },
                () = changes.changed() => {
                    if self.look_around() {
                        self.reconcile(true).await;
                    }
                }
                _ = tick.tick() => self.tick().await,
                () = resumed.notified() => {
                    self.look_around();
                    self.reconcile(true).await;
                }
                () = self.parts.naming.changed() => self.tell(),
                () = stop.cancelled() => break Ended::Stopped,
            }
            let Parts {
                place,
                control,
                config,
                ..
            } = &self.parts;
            if place.is_elsewhere(*control, config, &self.interfaces) {
                break Ended::Moved;
            }
        };
        self.parts.naming.withdraw();
        self.executor.close_all().await;
        (ended, self.parts)
    }

    async fn execute(&mut self, command: Command) {
        match command {
            Command::Open {
                caller,
                request,
                answer,
            } => {
                let opened = self.open(caller, &request);
                // An old set of the same distro may have got a new target.
                self.reconcile(false).await;
                reply(answer, opened);
            }
            Command::Put {
                session,
                connection,
                generation,
                set,
                answer,
            } => {
                let put = self
                    .ledger
                    .put(session, connection, generation, set, host::awake());
                if put.is_ok() {
                    self.reconcile(false).await;
                }
                reply(answer, put.and_then(|()| self.applied(session, connection)));
            }
            Command::Get {
                session,
                connection,
                answer,
            } => {
                reply(answer, self.applied(session, connection));
            }
            Command::Renew {
                session,
                connection,
                seen,
                answer,
            } => {
                let renewed = self.ledger.renew(session, connection, host::awake());
                reply(
                    answer,
                    renewed.and_then(|()| self.renewed(session, connection, seen)),
                );
            }
            Command::Close {
                session,
                connection,
                answer,
            } => {
                let closed = self.ledger.close(session, connection);
                self.reconcile(false).await;
                reply(answer, closed);
            }
            Command::Lost { connection } => self.ledger.connection_lost(connection, host::awake()),
            Command::Report { answer } => {
                let list = self.list();
                if answer.send((self.status(&list), list)).is_err() {
                    tracing::debug!("a report was asked for by somebody who did not wait");
                }
            }
        }
    }

    async fn tick(&mut self) {
        // Signs of life that arrived before this moment count, also when the program was held up for longer than a lease.
        for _ in 0..self.commands.len() {
            if let Ok(command) = self.commands.try_recv() {
                self.execute(command).await;
            }
        }
        let expired = self.ledger.expire(host::awake());
        for distro in &expired {
            tracing::info!(distro, "no sign of life: its forwards are withdrawn");
            self.parts.connections.close_distro(distro);
        }
        let untrusted = self.look_at_trust();
        let reconfigured = self.look_at_config();
        if reconfigured {
            self.executor.cut_all_draining();
            self.change_backend().await;
        }
        let woken = self.look_after_sleep();
        let retry = self.executor.is_due(host::awake()) || woken;
        if !expired.is_empty() || untrusted || reconfigured || retry {
            self.reconcile(retry).await;
        }
        self.sweep();
    }

    /// Takes the backend that the configuration names. The former one's things are gone before the new one has any.
    async fn change_backend(&mut self) {
        let Parts {
            config, state_dir, ..
        } = &self.parts;
        if config.backend != self.executor.backend() {
            tracing::info!(backend = %config.backend, "another backend");
            self.executor.close_all().await;
            self.executor = Executor::new(config.backend, self.gate.clone(), state_dir);
        }
    }

    async fn reconcile(&mut self, retry: bool) {
        for pass in 0..SEARCH {
            let claims = self.ledger.claims();
            let surroundings = Surroundings {
                interfaces: &self.interfaces,
                control: self.parts.control,
                policy: &self.parts.config.policy,
                backend: self.executor.backend(),
            };
            let actual = self.executor.actual();
            let places = plan::assign(&claims, &surroundings, actual, &self.places);
            // What the former pass opened shows whether a forward has to look further for a port.
            if pass > 0 && !places.search_on(&self.places) {
                break;
            }
            let desired = plan::desired(&claims, &places, &surroundings);
            let actions = plan::actions(&desired, actual, &claims, retry && pass == 0);
            let vm = |session: SessionStatus<'_>| (session.distro.to_owned(), session.boot_id.to_owned());
            let vms = self.ledger.sessions().map(vm).collect();
            self.executor.apply(actions, vms).await;
            (self.places, self.desired) = (places, desired);
        }
        self.tell();
        self.sweep();
    }

    /// Computes the states of all distros and numbers those that changed.
    fn tell(&mut self) {
        let distros = self
            .ledger
            .sessions()
            .map(|session| session.distro.to_owned())
            .collect::<BTreeSet<_>>();
        self.told.retain(|distro, told| {
            let stays = distros.contains(distro);
            if let Some(change) = exposure::change(&told.forwards, &[], [].iter()).filter(|_| !stays) {
                tracing::info!(target: event_log::TARGET, distro, change, "exposure changed");
            }
            stays
        });
        let states = |distro: String| {
            let states = plan::statuses(&self.desired, self.executor.actual(), &distro);
            (distro, states)
        };
        let mut states: States = distros.into_iter().map(states).collect();
        self.parts
            .naming
            .name(&mut states, &self.ledger.claims(), self.parts.config.names);
        let claims = self.ledger.claims();
        for (distro, forwards) in states {
            let asked = claims.distros.get(distro.as_str());
            let asked = asked.into_iter().flat_map(|claims| claims.granted);
            let told = self.told.entry(distro.clone()).or_default();
            if told.forwards != forwards {
                if let Some(change) = exposure::change(&told.forwards, &forwards, asked) {
                    tracing::info!(target: event_log::TARGET, distro, change, "exposure changed");
                }
                told.revision += 1;
                told.forwards = forwards;
            }
        }
    }

    fn sweep(&mut self) {
        let claims = self.ledger.claims();
        let living = claims.distros.keys().copied().collect();
        let revoked = claims
            .distros
            .iter()
            .flat_map(|(distro, claims)| claims.revoked.iter().map(|id| (*distro, *id)));
        self.executor.sweep(&living, &revoked.collect());
    }
}

pub(super) fn terms(config: &Config) -> Terms {
    Terms {
        lease: limits::LEASE,
        grace: limits::GRACE,
        max_forwards: config.max_forwards,
    }
}

fn reply<T>(answer: tokio::sync::oneshot::Sender<Result<T, Problem>>, result: Result<T, Problem>) {
    if answer.send(result).is_err() {
        tracing::debug!("a request's connection ended before its answer");
    }
}
