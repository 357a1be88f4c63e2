//! The event loop itself. Whatever happens, the same step follows: the ledger says who wants what, the plan says what
//! that means on this machine, the relays do it, and the states are compared with those that were told before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wslnet_console::output;
use wslnet_protocol::{
    Applied, ErrorCode, ForwardState, ForwardStatus, OpenSession, Problem, Renewed, SessionId, SessionOpened,
    limits,
};

use wslnet_relay::Counters;

use super::report::{DistroReport, ForwardReport, StatusReport};
use super::{Command, Engine};
use crate::api::{Caller, Connections};
use crate::apply::{ConnectionGate, Relays};
use crate::config::{Config, WatchedConfig};
use crate::control_address::ControlAddress;
use crate::host::{self, Interface};
use crate::ledger::{ConnectionId, Key, Ledger, Terms};
use crate::plan::{self, Desired, Surroundings};
use crate::trust::Trust;

/// How often leases, conflicts and changed files are looked at. A conflict is resolved within a second of its end.
const TICK: Duration = Duration::from_millis(250);
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
    parts: Parts,
    commands: mpsc::Receiver<Command>,
    ledger: Ledger,
    gate: Arc<ConnectionGate>,
    relays: Relays,
    interfaces: Vec<Interface>,
    desired: Desired,
    told: BTreeMap<String, Told>,
    config_error: Option<String>,
    trust_error: Option<String>,
}

/// The states of a distro's forwards as they were last computed.
#[derive(Debug, Default)]
struct Told {
    revision: u64,
    forwards: Vec<ForwardStatus>,
}

impl Work {
    /// The loop and the handle that reaches it.
    pub fn new(parts: Parts) -> (Self, Engine) {
        let (sender, commands) = mpsc::channel(QUEUE);
        let gate = Arc::new(ConnectionGate::new(parts.control));
        let work = Self {
            ledger: Ledger::new(terms(&parts.config)),
            relays: Relays::new(gate.clone()),
            gate,
            commands,
            interfaces: Vec::new(),
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
        self.relays.close_all().await;
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
                if answer.send((self.status(), self.list())).is_err() {
                    tracing::debug!("a report was asked for by somebody who did not wait");
                }
            }
        }
    }

    fn open(&mut self, caller: Caller, request: &OpenSession) -> Result<SessionOpened, Problem> {
        let session = random_session()?;
        let Caller {
            distro,
            peer,
            connection,
        } = caller;
        if !self.parts.trust.knows(&distro) {
            return Err(Problem::new(
                ErrorCode::StaleSession,
                "this key is not trusted any more",
            ));
        }
        let before = self.ledger.sessions().find(|entry| entry.distro == distro);
        let before = before.map(|entry| (entry.boot_id.to_owned(), entry.peer));
        let superseded = self
            .ledger
            .open(&distro, peer.ip(), request, session, connection, host::awake())?;
        if let Some(superseded) = superseded {
            self.parts.connections.close(superseded);
        }
        if before.is_some_and(|before| before != (request.boot_id.clone(), peer.ip())) {
            self.relays.cut_draining(&distro);
        }
        tracing::info!(distro, %peer, daemon = request.daemon, "session opened");
        Ok(SessionOpened {
            session,
            distro,
            companion: crate::VERSION.to_owned(),
            peer,
            lease_ms: millis(limits::LEASE),
            renew_ms: millis(limits::RENEW),
            max_forwards: self.parts.config.max_forwards,
        })
    }

    fn applied(&self, session: SessionId, connection: ConnectionId) -> Result<Applied, Problem> {
        let distro = self.ledger.distro_of(session, connection)?;
        let generation = self
            .ledger
            .sessions()
            .find(|entry| entry.distro == distro)
            .and_then(|entry| entry.generation);
        let told = self.told.get(distro);
        Ok(Applied {
            generation,
            revision: told.map_or(0, |told| told.revision),
            forwards: told.map(|told| told.forwards.clone()).unwrap_or_default(),
        })
    }

    fn renewed(&self, session: SessionId, connection: ConnectionId, seen: u64) -> Result<Renewed, Problem> {
        let Applied {
            revision, forwards, ..
        } = self.applied(session, connection)?;
        Ok(Renewed {
            revision,
            forwards: (revision != seen).then_some(forwards),
        })
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
            self.relays.cut_all_draining();
        }
        let retry = self.relays.actual().has_failures();
        if !expired.is_empty() || untrusted || reconfigured || retry {
            self.reconcile(retry).await;
        }
        self.sweep();
    }

    /// Reads the interfaces again; says whether they changed.
    fn look_around(&mut self) -> bool {
        match host::interfaces() {
            Ok(interfaces) if interfaces != self.interfaces => {
                self.gate.look(&interfaces, self.parts.config.policy.clients);
                self.interfaces = interfaces;
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(%error, "the network interfaces cannot be read; the last known ones stay");
                false
            }
        }
    }

    /// Reads the trusted keys again; says whether a distro lost its trust.
    fn look_at_trust(&mut self) -> bool {
        match self.parts.trust.refresh() {
            Ok(gone) => {
                self.trust_error = None;
                for distro in &gone {
                    tracing::info!(distro, "its key is no longer trusted: its forwards are withdrawn");
                    self.ledger.forget(distro);
                    self.parts.connections.close_distro(distro);
                }
                !gone.is_empty()
            }
            Err(error) => {
                note(&mut self.trust_error, output::chain(&error));
                false
            }
        }
    }

    /// Reads the configuration again if its file changed; says whether it is another one.
    fn look_at_config(&mut self) -> bool {
        match self.parts.config_file.changed() {
            None => false,
            Some(Ok(config)) => {
                tracing::info!("companion.toml was read again");
                self.config_error = None;
                self.ledger.set_terms(terms(&config));
                self.gate.look(&self.interfaces, config.policy.clients);
                self.parts.config = config;
                true
            }
            Some(Err(report)) => {
                note(&mut self.config_error, report);
                false
            }
        }
    }

    async fn reconcile(&mut self, retry: bool) {
        let claims = self.ledger.claims();
        let surroundings = Surroundings {
            interfaces: &self.interfaces,
            control: self.parts.control,
            policy: &self.parts.config.policy,
        };
        let desired = plan::desired(&claims, &surroundings);
        let actions = plan::actions(&desired, self.relays.actual(), &claims, retry);
        self.relays.apply(actions).await;
        self.desired = desired;
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
        self.told.retain(|distro, _| distros.contains(distro));
        for distro in distros {
            let forwards = plan::statuses(&self.desired, self.relays.actual(), &distro);
            let told = self.told.entry(distro).or_default();
            if told.forwards != forwards {
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
        self.relays.sweep(&living, &revoked.collect());
    }

    fn status(&self) -> StatusReport {
        let states = self.told.values().flat_map(|told| &told.forwards);
        let active = states
            .clone()
            .filter(|forward| forward.state == ForwardState::Active)
            .count();
        StatusReport {
            version: crate::VERSION.to_owned(),
            control: self.parts.control,
            backend: "relay".to_owned(),
            reach: self.parts.config.policy.reach,
            addresses: plan::lan_addresses(&self.interfaces, self.parts.control, &self.parts.config.policy),
            trusted: self.parts.trust.count(),
            distros: self
                .ledger
                .sessions()
                .map(|session| DistroReport {
                    distro: session.distro.to_owned(),
                    peer: session.peer,
                    connected: session.connected,
                    daemon: session.daemon.to_owned(),
                    generation: session.generation,
                })
                .collect(),
            active,
            inactive: states.count() - active,
            config_error: self.config_error.clone().or_else(|| self.trust_error.clone()),
        }
    }

    fn list(&self) -> Vec<ForwardReport> {
        let claims = self.ledger.claims();
        let mut rows = Vec::new();
        for (distro, claims) in &claims.distros {
            let Some(told) = self.told.get(*distro) else {
                continue;
            };
            for (forward, status) in claims.granted.iter().chain(claims.over_limit).zip(&told.forwards) {
                let key = Key::of(forward);
                let applied = self.relays.actual().relays.get(&key);
                let ours =
                    applied.is_some_and(|applied| applied.distro == *distro && applied.id == forward.id);
                let counters = self.relays.counters(&key).filter(|_| ours).unwrap_or_default();
                rows.push(ForwardReport {
                    distro: (*distro).to_owned(),
                    protocol: forward.protocol,
                    port: forward.listen_port,
                    listen: status.listen.clone(),
                    target: SocketAddr::new(claims.peer, forward.port),
                    state: status.state,
                    reason: with_counters(&status.reason, &counters),
                    reach: forward.reach,
                    name: forward.name.clone(),
                    labels: forward.labels.clone(),
                    connections: counters.connections,
                    refused: counters.refused(),
                    dial_failures: counters.dial_failures,
                    bytes_in: counters.bytes_in,
                    bytes_out: counters.bytes_out,
                });
            }
        }
        rows.sort_by(|a, b| (a.port, &a.distro).cmp(&(b.port, &b.distro)));
        rows
    }
}

/// A forward's reason, and what happened to its clients that nobody else is told.
fn with_counters(reason: &str, counters: &Counters) -> String {
    let mut parts = Vec::new();
    if !reason.is_empty() {
        parts.push(reason.to_owned());
    }
    for (count, what) in [
        (
            counters.refused_clients,
            "from outside Windows' networks refused (`clients = \"any\"` in companion.toml admits them)",
        ),
        (counters.refused_by_limit, "refused at the limit of connections"),
        (
            counters.dial_failures,
            "not connected, as the service did not answer",
        ),
    ] {
        if count > 0 {
            parts.push(format!("clients {what}: {count}"));
        }
    }
    parts.join("; ")
}

fn terms(config: &Config) -> Terms {
    Terms {
        lease: limits::LEASE,
        grace: limits::GRACE,
        max_forwards: config.max_forwards,
    }
}

fn random_session() -> Result<SessionId, Problem> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        Problem::new(
            ErrorCode::Unavailable,
            "Windows gave no random numbers; try again",
        )
    })?;
    Ok(SessionId(u128::from_be_bytes(bytes)))
}

fn reply<T>(answer: tokio::sync::oneshot::Sender<Result<T, Problem>>, result: Result<T, Problem>) {
    if answer.send(result).is_err() {
        tracing::debug!("a request's connection ended before its answer");
    }
}

/// Keeps an error for `status` and logs it once.
fn note(place: &mut Option<String>, error: String) {
    if place.as_ref() != Some(&error) {
        tracing::warn!(error, "a changed file was not taken over");
        *place = Some(error);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
