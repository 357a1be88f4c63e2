//! The event loop itself. Whatever happens, the same step follows: the ledger says who wants what, the plan says what
//! that means on this machine, the relays do it, and the states are compared with those that were told before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wslnet_console::files::FileWatch;
use wslnet_protocol::{ForwardStatus, Problem, limits};

use super::{Command, Engine, exposure};
use crate::api::Connections;
use crate::apply::{Admitted, ConnectionGate, Executor};
use crate::capability::Capability;
use crate::config::{Config, WatchedConfig};
use crate::control_address::{ControlAddress, ControlPorts};
use crate::event_log;
use crate::firewall::{self, FirewallWatch};
use crate::form::Form;
use crate::host::{self, Awake, Interface, NetworkWatch, SleepWatch};
use crate::ledger::{Ledger, SessionStatus, Terms};
use crate::names::{Naming, States};
use crate::plan::{self, Desired, Places, Surroundings};
use crate::trust::Trust;

/// How often to look while something is unsettled: a port that could not be opened, connections that drain, a file that may be
/// half written. A conflict is resolved within a second of its end.
const UNSETTLED: Duration = Duration::from_millis(250);
/// The shortest pause between two looks, since clocks go in steps (see [`host::awake`]).
const SHORTEST: Duration = Duration::from_millis(10);
/// How many ports are tried at once for a forward that would take another one than it wants. The search goes on with the
/// next tick, so that one distro's forwards do not keep the others waiting.
const SEARCH: usize = 10;
/// How long the first set may be kept waiting for the categories of the networks. Without them it is answered that nothing may be
/// opened yet, and that is put right with the next renewal only.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
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
    pub control: ControlPorts,
    /// Where it should listen too and could not, and why in a sentence for people.
    pub given_up: Option<(ControlPorts, String)>,
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
    pub(super) networks: NetworkWatch,
    pub(super) firewall: FirewallWatch,
    pub(super) sleep: SleepWatch,
    /// When the control port was last tried where it could not listen.
    pub(super) tried_control: Awake,
    pub(super) places: Places,
    pub(super) desired: Desired,
    pub(super) told: BTreeMap<String, Told>,
    /// What of the firewall was logged already.
    pub(super) told_findings: BTreeSet<String>,
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
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn new(parts: Parts) -> (Self, Engine) {
        let (sender, commands) = mpsc::channel(QUEUE);
        let gate = Arc::new(ConnectionGate::new(parts.control.network));
        let work = Self {
            ledger: Ledger::new(terms(&parts.config)),
            executor: Executor::new(parts.config.backend, gate.clone(), &parts.state_dir),
            gate,
            commands,
            interfaces: Vec::new(),
            networks: host::watch_networks(&parts.state_dir),
            firewall: firewall::watch_firewall(&parts.state_dir),
            sleep: SleepWatch::new(),
            tried_control: host::awake(),
            places: Places::default(),
            desired: Desired::default(),
            told: BTreeMap::new(),
            told_findings: BTreeSet::new(),
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
        let folders = [
            Some(self.parts.state_dir.as_path()),
            self.parts.config_file.path().parent(),
        ];
        let mut files = FileWatch::new(&folders.into_iter().flatten().collect::<Vec<_>>());
        self.networks.first(FIRST_ANSWER).await;
        self.look_around();
        // What changed before the watch began.
        self.tick().await;
        let mut looked = Instant::now();
        let ended = loop {
            let next_look = self.next_look(looked, files.pause());
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
                () = self.networks.changed() => {
                    if self.look_around() {
                        self.reconcile(true).await;
                    }
                }
                () = self.firewall.changed() => self.look_at_firewall(),
                () = resumed.notified() => {
                    self.look_around();
                    self.reconcile(true).await;
                }
                () = files.changed() => {
                    self.tick().await;
                    looked = Instant::now();
                }
                () = sleep_until(next_look) => {
                    self.tick().await;
                    looked = Instant::now();
                }
                () = self.parts.naming.changed() => self.tell(),
                () = stop.cancelled() => break Ended::Stopped,
            }
            if self.control_belongs_elsewhere() {
                break Ended::Moved;
            }
        };
        self.parts.naming.withdraw();
        self.executor.close_all().await;
        (ended, self.parts)
    }

    /// When to look next, if nothing happens: at the end of a lease, and no later than so long after the last look.
    fn next_look(&self, looked: Instant, longest: Duration) -> Instant {
        let misses_port = self.parts.given_up.is_some() && self.ledger.sessions().next().is_none();
        let is_settled = self.executor.is_settled() && !self.parts.config_file.is_unsettled() && !misses_port;
        let regular = looked + if is_settled { longest } else { UNSETTLED };
        let lease = self.ledger.next_deadline();
        let left = lease.map(|end| end.saturating_since(host::awake()).max(SHORTEST));
        left.map_or(regular, |left| regular.min(Instant::now() + left))
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
        for (distro, connection) in &expired {
            tracing::info!(distro, "no sign of life: its forwards are withdrawn");
            if let Some(connection) = connection {
                self.parts.connections.close(*connection);
            }
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
        let claims = self.ledger.claims();
        for pass in 0..SEARCH {
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
            self.executor.set_networks(self.parts.config.policy.networks);
            self.executor.apply(actions, vms).await;
            let policy = &self.parts.config.policy;
            let admitted = Admitted {
                clients: policy.clients,
                networks: policy.networks,
            };
            self.executor.keep_open(&desired.openings, admitted).await;
            (self.places, self.desired) = (places, desired);
        }
        self.tell();
        self.sweep();
    }

    /// Computes the states of all distros and numbers those that changed.
    pub(super) fn tell(&mut self) {
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
            let (actual, opinions) = (self.executor.actual(), self.executor.opinions());
            let states = plan::statuses(&self.desired, actual, opinions, &distro);
            (distro, states)
        };
        let mut states: States = distros.into_iter().map(states).collect();
        self.note_firewall(&mut states);
        let claims = self.ledger.claims();
        self.parts
            .naming
            .name(&mut states, &claims, self.parts.config.names);
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
