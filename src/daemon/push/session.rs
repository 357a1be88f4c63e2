//! The life of sessions: find the companion, open, push, renew, say goodbye; and start again when anything breaks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use wslnet_link::{KeyPair, Peers, PublicKey};
use wslnet_protocol::{ErrorCode, ForwardSet, ForwardState, ForwardStatus, OpenSession, SessionOpened};

use super::backoff::Backoff;
use super::client::Client;
use super::error::PushError;
use super::lifeline::Lifeline;
use super::trust;
use super::{CompanionView, LinkState, Route};

/// The name under which the companion's key is trusted in the state directory.
pub const COMPANION: &str = "companion";

/// How often to renew while some forward is not active: its state may change on the Windows side at any moment.
const RENEW_UNSETTLED: Duration = Duration::from_secs(1);
/// A session that lasted this long was a good one; the pauses after it start from the shortest again.
const HEALTHY: Duration = Duration::from_secs(30);
/// How long a goodbye may take; systemd does not wait for ever.
const GOODBYE_TIME: Duration = Duration::from_secs(2);
/// How long the HTTP client is given after an answer. It takes its connection back on tasks of its own; a request before that
/// would open another connection beside it, with a handshake and the end of the first one, which is the session's.
const BREATH: Duration = Duration::from_millis(1);

/// Who this daemon is.
#[derive(Debug)]
pub struct Identity {
    /// The distro's key.
    pub key: KeyPair,
    /// Where the companion's key is kept.
    pub state_dir: PathBuf,
    /// What every session opens with, but for the networking mode, which the route names.
    pub hello: OpenSession,
}

/// Pushes the wanted set to the companion until it is told to stop.
#[derive(Debug)]
pub struct Pusher {
    identity: Identity,
    route: watch::Receiver<Route>,
    wanted: watch::Receiver<Option<Arc<ForwardSet>>>,
    view: watch::Sender<CompanionView>,
    stop: CancellationToken,
    dice: u32,
}

/// Why a session ended.
enum Ended {
    /// The daemon stops.
    Stopped,
    /// The way to the companion changed: try again at once.
    Moved,
    /// Another companion is trusted now, or none: try again at once.
    Distrusted,
    /// A request failed.
    Failed(PushError),
}

impl Pusher {
    /// A pusher that follows `route` and `wanted` and tells what it knows through `view`. Nothing is pushed while
    /// `wanted` is `None`: a daemon that has not looked yet must not replace what its predecessor asked for.
    pub fn new(
        identity: Identity,
        route: watch::Receiver<Route>,
        wanted: watch::Receiver<Option<Arc<ForwardSet>>>,
        view: watch::Sender<CompanionView>,
        stop: CancellationToken,
    ) -> Self {
        // Only spreads attempts over time; the process id is random enough for that.
        let dice = std::process::id().wrapping_mul(2_654_435_761);
        Self {
            identity,
            route,
            wanted,
            view,
            stop,
            dice,
        }
    }

    /// Runs until told to stop. The last thing it does is to say goodbye.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        while !self.stop.is_cancelled() {
            let Some(companion) = self.companion().await else {
                return;
            };
            let Some(pin) = self.pin(companion).await else {
                continue;
            };
            match self.session(companion, pin, &mut backoff).await {
                Ended::Stopped => return,
                Ended::Moved => {
                    self.disconnected(
                        LinkState::Connecting,
                        self.route.borrow().companion,
                        "the way to the companion changed; connecting again".to_owned(),
                    );
                    backoff.reset();
                }
                Ended::Distrusted => {
                    self.disconnected(
                        LinkState::Connecting,
                        Some(companion),
                        "the trusted key changed; connecting again".to_owned(),
                    );
                    backoff.reset();
                }
                Ended::Failed(error) => {
                    self.report_failure(companion, &error);
                    self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let pause = backoff.next(error.setback(), self.dice);
                    self.pause(pause, companion, &mut backoff).await;
                }
            }
        }
    }

    /// Waits until the companion's address is known. `None` when the daemon stops.
    async fn companion(&mut self) -> Option<SocketAddr> {
        loop {
            let route = self.route.borrow_and_update().clone();
            if let Some(companion) = route.companion {
                return Some(companion);
            }
            self.disconnected(LinkState::Searching, None, route.missing);
            tokio::select! {
                changed = self.route.changed() => changed.ok()?,
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// The companion's trusted key. Where there is none, waits until that may have changed, and returns `None`.
    async fn pin(&mut self, companion: SocketAddr) -> Option<PublicKey> {
        let mut keys = trust::watch(&self.identity.state_dir);
        let reason = match Peers::load(&self.identity.state_dir).map(|peers| peers.get(COMPANION)) {
            Ok(Some(pin)) => return Some(pin),
            Ok(None) => "no companion is trusted yet: run `sudo wslnetd pair`; or `wslnetd trust KEY` with the output of \
                         `wslnet-companion key`, and `wslnet-companion trust NAME KEY` with the output of `wslnetd key`"
                .to_owned(),
            Err(error) => error.to_string(),
        };
        self.disconnected(LinkState::Unpaired, Some(companion), reason);
        tokio::select! {
            () = keys.next_look() => {}
            () = self.stop.cancelled() => {}
        }
        None
    }

    async fn session(&mut self, companion: SocketAddr, pin: PublicKey, backoff: &mut Backoff) -> Ended {
        let client = match Client::new(companion, &self.identity.key, pin) {
            Ok(client) => client,
            Err(error) => return Ended::Failed(error),
        };
        let hello = OpenSession {
            mode: self.route.borrow().mode,
            ..self.identity.hello.clone()
        };
        let opened = tokio::select! {
            opened = client.open(&hello) => opened,
            () = moved(&mut self.route, companion, None) => return Ended::Moved,
            () = self.stop.cancelled() => return Ended::Stopped,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return Ended::Failed(error),
        };
        let since = Instant::now();
        tracing::info!(%companion, version = opened.companion, vm_address = %opened.peer.ip(), "connected to the companion");
        self.connected(companion, &opened);
        let lifeline = Lifeline::find(opened.peer, companion);

        // For both the daemon's stop and the end of trust; a request that is under way is finished first.
        let leave = self.stop.child_token();
        let distrusted = async {
            trust::lost(&self.identity.state_dir, pin).await;
            leave.cancel();
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = keep_in_step(&client, &opened, &lifeline, &mut self.wanted, &self.view, &leave) => ended,
            () = moved(&mut self.route, companion, Some(&opened)) => Ended::Moved,
            () = distrusted => Ended::Distrusted,
        };
        let ended = if matches!(ended, Ended::Stopped) && !self.stop.is_cancelled() {
            Ended::Distrusted
        } else {
            ended
        };
        // Not sooner: two daemons with copies of one key would throw each other out many times a second.
        if since.elapsed() >= HEALTHY {
            backoff.reset();
        }
        match &ended {
            Ended::Stopped => goodbye(&client, &opened).await,
            Ended::Distrusted => {
                tracing::info!("the companion of this session is no longer trusted");
                goodbye(&client, &opened).await;
            }
            Ended::Moved => tracing::info!("the way to the companion changed; connecting again"),
            Ended::Failed(error) => tracing::debug!(%error, "the session ended"),
        }
        ended
    }

    /// Waits before the next attempt; a changed route ends the wait.
    async fn pause(&mut self, pause: Duration, companion: SocketAddr, backoff: &mut Backoff) {
        tokio::select! {
            () = sleep(pause) => {}
            () = moved(&mut self.route, companion, None) => backoff.reset(),
            () = self.stop.cancelled() => {}
        }
    }

    fn connected(&self, companion: SocketAddr, opened: &SessionOpened) {
        self.view.send_replace(CompanionView {
            state: LinkState::Connected,
            address: Some(companion),
            version: Some(opened.companion.clone()),
            reason: String::new(),
            peer: Some(opened.peer.ip()),
            distro: Some(opened.distro.clone()),
            applied: false,
            forwards: Arc::default(),
        });
    }

    fn report_failure(&self, companion: SocketAddr, error: &PushError) {
        let stale = matches!(error, PushError::Problem(problem) if problem.error == ErrorCode::StaleSession);
        if stale {
            // Our own newer session replaced it, or the companion restarted: nothing that a person has to know.
            tracing::debug!("the session was over");
        }
        self.disconnected(error.state(), Some(companion), error.to_string());
    }

    fn disconnected(&self, state: LinkState, address: Option<SocketAddr>, reason: String) {
        self.view.send_if_modified(|view| {
            let next = CompanionView {
                state,
                address,
                reason,
                ..CompanionView::default()
            };
            let said = view.reason != next.reason;
            if said {
                tracing::warn!(reason = next.reason, "not connected to the companion");
            }
            let changed = *view != next;
            *view = next;
            changed
        });
    }
}

/// Pushes the set whenever it changes and renews in between, until a request fails or the daemon stops. A request that
/// is under way is never abandoned for a stop: the goodbye needs its connection.
async fn keep_in_step(
    client: &Client,
    opened: &SessionOpened,
    lifeline: &Lifeline,
    wanted: &mut watch::Receiver<Option<Arc<ForwardSet>>>,
    view: &watch::Sender<CompanionView>,
    stop: &CancellationToken,
) -> Ended {
    let renew = Duration::from_millis(opened.renew_ms).max(RENEW_UNSETTLED);
    let mut generation = 0;
    let mut seen = 0;
    wanted.mark_changed();
    loop {
        sleep(BREATH).await;
        let settled = view.borrow().forwards.values().all(settles);
        let pause = if settled && lifeline.is_watching() {
            renew
        } else {
            RENEW_UNSETTLED
        };
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => return Ended::Stopped,
            changed = wanted.changed() => {
                let set = wanted.borrow_and_update().clone();
                match (changed, set) {
                    (Ok(()), Some(set)) => {
                        generation += 1;
                        tracing::debug!(generation, forwards = set.forwards.len(), "pushing");
                        let applied = client.put(opened.session, generation, &set).await;
                        applied.map(|applied| (applied.revision, Some((true, applied.forwards))))
                    }
                    (Ok(()), None) => continue,
                    // The daemon is ending; its stop is about to arrive.
                    (Err(_), _) => std::future::pending().await,
                }
            }
            () = lifeline.cut() => return Ended::Failed(PushError::Closed),
            () = sleep(pause) => {
                let renewed = client.renew(opened.session, seen).await;
                renewed.map(|renewed| (renewed.revision, renewed.forwards.map(|forwards| (false, forwards))))
            }
        };
        match outcome {
            Ok((revision, forwards)) => {
                seen = revision;
                if let Some((applied, forwards)) = forwards {
                    tell(view, applied, forwards);
                }
            }
            Err(error) => return Ended::Failed(error),
        }
    }
}

/// Whether a state will stay for a while, so that the ordinary renewals bring its change early enough. A forward that
/// listens somewhere and has something to say for itself misses an address that it may get at any moment, and one over
/// the limit gets its place as soon as another goes or the limit is raised.
fn settles(forward: &ForwardStatus) -> bool {
    match forward.state {
        ForwardState::Active => forward.reason.is_empty() || forward.listen.is_empty(),
        ForwardState::Denied | ForwardState::Contended => true,
        ForwardState::Pending | ForwardState::Conflict | ForwardState::OverLimit => false,
    }
}

/// Passes on what Windows made of the set; `applied` says that this is the answer to a set of this session, and not what
/// is left of an earlier one.
fn tell(view: &watch::Sender<CompanionView>, applied: bool, forwards: Vec<ForwardStatus>) {
    view.send_modify(|view| {
        view.applied |= applied;
        let forwards = forwards.into_iter().map(|forward| (forward.id, forward));
        view.forwards = Arc::new(forwards.collect());
    });
}

/// Returns when the companion is to be found elsewhere, or when the address from which the session came is gone.
async fn moved(route: &mut watch::Receiver<Route>, companion: SocketAddr, session: Option<&SessionOpened>) {
    let ours = session
        .map(|opened| opened.peer.ip())
        .filter(|peer| route.borrow().local.contains(peer));
    let elsewhere = |route: &Route| {
        route.companion != Some(companion) || ours.is_some_and(|address| !route.local.contains(&address))
    };
    if route.wait_for(|route| elsewhere(route)).await.is_err() {
        // The network watcher is gone because the daemon is ending.
        std::future::pending::<()>().await;
    }
}

async fn goodbye(client: &Client, opened: &SessionOpened) {
    match timeout(GOODBYE_TIME, client.close(opened.session)).await {
        Ok(Ok(())) => tracing::info!("said goodbye to the companion"),
        Ok(Err(error)) => tracing::warn!(%error, "the goodbye failed; the ports close when the lease ends"),
        Err(_) => tracing::warn!("the goodbye was not answered; the ports close when the lease ends"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wslnet_protocol::ForwardId;

    #[test]
    fn what_may_change_at_any_moment_is_asked_for_each_second() {
        let unsettled = ["pending", "conflict", "over-limit"];
        for state in [
            ForwardState::Active,
            ForwardState::Pending,
            ForwardState::Denied,
            ForwardState::Conflict,
            ForwardState::OverLimit,
            ForwardState::Contended,
        ] {
            let expected = !unsettled.contains(&state.to_string().as_str());

            assert_eq!(settles(&status(state, "", 1)), expected, "{state}");
        }
        assert!(!settles(&status(ForwardState::Active, "not at 192.168.1.20", 1)));
        assert!(settles(&status(ForwardState::Active, "WSL does it", 0)));
    }

    fn status(state: ForwardState, reason: &str, places: usize) -> ForwardStatus {
        ForwardStatus {
            id: ForwardId(1),
            state,
            reason: reason.to_owned(),
            listen: vec![([127, 0, 0, 1], 80).into(); places],
        }
    }
}
