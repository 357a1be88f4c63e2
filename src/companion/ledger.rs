//! Who may say what, until when, and who owns which port of Windows: sessions, generations, leases and claims.
//! Pure: it reads no clock and closes no connection. Whether a claim may be applied is for [`crate::plan`] to say.
//!
//! **Order.** The newest session of a distro wins at once; requests of an older one are refused, and so are requests of
//! the right session on another connection. Within a session each set has a higher generation than the one before.
//! Nothing is ordered by time, because guest clocks are off by hours after a sleep.
//!
//! **A set belongs to a distro**, that is, to the name under which its key is trusted, and not to a session. A daemon
//! that restarts opens a new session, and its old set stays until the first set of the new one, so that a restart drops
//! nothing. All forwards of a distro lead to the peer of its newest session.
//!
//! **A mode is held against the source.** In NAT mode a session comes from the VM's address, in the modes that share Windows'
//! ports from 127.0.0.1. What says otherwise is refused: see [`Ledger::open`].
//!
//! **A set ends** with the lease, with a goodbye, or when the key is no longer trusted. A lost connection shortens the
//! lease to the grace. A lease ends when [`Ledger::expire`] says so: a sign of life that comes before keeps it.

mod claims;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use wslnet_protocol::{
    ErrorCode, Forward, ForwardSet, Mode, OpenSession, Problem, SessionId, VERSION, limits,
};

pub use self::claims::{Claim, Claims, DistroClaims, Key};
use crate::host::Awake;

/// The numbers by which the ledger goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a set is kept without a sign of life.
    pub lease: Duration,
    /// How long a set outlives the connection of its session.
    pub grace: Duration,
    /// How many forwards a distro may have.
    pub max_forwards: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lease: limits::LEASE,
            grace: limits::GRACE,
            max_forwards: limits::FORWARDS,
        }
    }
}

/// Names one connection for as long as the companion runs. The caller counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What the companion knows of a session, for people to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionStatus<'a> {
    /// The distro.
    pub distro: &'a str,
    /// Its id.
    pub id: SessionId,
    /// The address from which the session comes.
    pub peer: IpAddr,
    /// The networking mode that it says the VM is in.
    pub mode: Mode,
    /// Which run of the VM it comes from.
    pub boot_id: &'a str,
    /// The daemon's version.
    pub daemon: &'a str,
    /// Whether its connection is open.
    pub connected: bool,
    /// The number of its latest set; `None` before the first.
    pub generation: Option<u64>,
}

/// The sessions, sets and claims of all distros. See the module's text for the rules.
#[derive(Debug)]
pub struct Ledger {
    terms: Terms,
    distros: BTreeMap<String, Distro>,
    /// Counts what brought new claims.
    arrivals: u64,
}

#[derive(Debug)]
struct Distro {
    /// The newest one.
    session: Session,
    expires: Awake,
    set: ForwardSet,
    /// When each port was first claimed: the lowest number owns the port.
    arrived: BTreeMap<Key, u64>,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    /// `None` once it is lost.
    connection: Option<ConnectionId>,
    peer: IpAddr,
    mode: Mode,
    boot_id: String,
    pid_namespace: u64,
    daemon: String,
    generation: Option<u64>,
}

impl Ledger {
    /// A ledger that knows no distro yet: how each run of the companion begins.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            distros: BTreeMap::new(),
            arrivals: 0,
        }
    }

    /// Opens a session for the distro whose key the connection proved. Returns the connection of the session that it
    /// supersedes, if that is another one: the caller closes it before it answers.
    ///
    /// # Errors
    /// [`ErrorCode::UnsupportedVersion`], [`ErrorCode::Invalid`], [`ErrorCode::WrongMode`] when the session does not come from where
    /// its mode says, or [`ErrorCode::ClonedKey`] when the session in place,
    /// or one whose grace still runs, belongs to another distro of the same VM. A restarted VM has another boot id; a
    /// restarted distro is let in when the grace of its former run is over.
    pub fn open(
        &mut self,
        distro: &str,
        peer: IpAddr,
        request: &OpenSession,
        session: SessionId,
        connection: ConnectionId,
        now: Awake,
    ) -> Result<Option<ConnectionId>, Problem> {
        if request.protocol != VERSION {
            let message = format!(
                "wslnetd speaks protocol {}, this wslnet-companion {VERSION}: install the same release on both sides",
                request.protocol
            );
            return Err(Problem::new(ErrorCode::UnsupportedVersion, message));
        }
        request
            .validate()
            .map_err(|e| Problem::new(ErrorCode::Invalid, e.to_string()))?;
        comes_from_where_its_mode_says(peer, request.mode)?;

        let expires = later(now, self.terms.lease);
        let session = Session {
            id: session,
            connection: Some(connection),
            peer,
            mode: request.mode,
            boot_id: request.boot_id.clone(),
            pid_namespace: request.pid_namespace,
            daemon: request.daemon.clone(),
            generation: None,
        };
        let Some(known) = self.distros.get_mut(distro) else {
            let entry = Distro {
                session,
                expires,
                set: ForwardSet::default(),
                arrived: BTreeMap::new(),
            };
            self.distros.insert(distro.to_owned(), entry);
            return Ok(None);
        };
        if known.session.is_cloned_by(&session) {
            let message = format!(
                "another distro has just used the key of `{distro}`: if this one is a copy (`wsl --export`, `wsl --import`), \
                 delete its key and pair it anew; if it was just restarted, wait some seconds"
            );
            return Err(Problem::new(ErrorCode::ClonedKey, message));
        }
        if known.session.boot_id != session.boot_id {
            // The VM in which those listeners were is gone, and with it whoever they were.
            known.set = ForwardSet::default();
            known.arrived.clear();
        }
        let superseded = std::mem::replace(&mut known.session, session);
        known.expires = expires;
        Ok(superseded.connection.filter(|old| *old != connection))
    }

    /// Replaces the set of the session's distro. Claims that it had before keep their rank, even under a new id.
    ///
    /// # Errors
    /// [`ErrorCode::StaleSession`], [`ErrorCode::StaleGeneration`] or [`ErrorCode::Invalid`]; nothing has changed then.
    pub fn put(
        &mut self,
        session: SessionId,
        connection: ConnectionId,
        generation: u64,
        set: ForwardSet,
        now: Awake,
    ) -> Result<(), Problem> {
        let terms = self.terms;
        let distro = current_mut(&mut self.distros, session, connection)?;
        if let Some(last) = distro.session.generation.filter(|last| generation <= *last) {
            let message = format!("set {generation} is not newer than set {last}, which the companion has");
            return Err(Problem::new(ErrorCode::StaleGeneration, message));
        }
        set.validate()
            .map_err(|e| Problem::new(ErrorCode::Invalid, e.to_string()))?;

        self.arrivals += 1;
        distro.set = set;
        distro.session.generation = Some(generation);
        distro.expires = later(now, terms.lease);
        distro.rank(terms.max_forwards, self.arrivals);
        Ok(())
    }

    /// Keeps the lease.
    ///
    /// # Errors
    /// [`ErrorCode::StaleSession`].
    pub fn renew(&mut self, session: SessionId, connection: ConnectionId, now: Awake) -> Result<(), Problem> {
        let expires = later(now, self.terms.lease);
        let distro = current_mut(&mut self.distros, session, connection)?;
        distro.expires = expires;
        Ok(())
    }

    /// Takes a goodbye: the distro's set is dropped at once.
    ///
    /// # Errors
    /// [`ErrorCode::StaleSession`].
    pub fn close(&mut self, session: SessionId, connection: ConnectionId) -> Result<(), Problem> {
        let name = self.distro_of(session, connection)?.to_owned();
        self.distros.remove(&name);
        Ok(())
    }

    /// Starts the grace of the session on this connection. A connection without a current session changes nothing.
    pub fn connection_lost(&mut self, connection: ConnectionId, now: Awake) {
        let end = later(now, self.terms.grace);
        for distro in self
            .distros
            .values_mut()
            .filter(|d| d.session.connection == Some(connection))
        {
            distro.session.connection = None;
            distro.expires = distro.expires.min(end);
        }
    }

    /// Drops a distro whose key is no longer trusted. Returns its connection if that is open: the caller closes it.
    pub fn forget(&mut self, distro: &str) -> Option<ConnectionId> {
        self.distros.remove(distro)?.session.connection
    }

    /// Drops the distros whose lease has ended and names them, with the connection of the session if that is open: the caller closes
    /// it. Another one of the distro is not of that session, and may be about to open the next.
    pub fn expire(&mut self, now: Awake) -> Vec<(String, Option<ConnectionId>)> {
        let mut ended = Vec::new();
        self.distros.retain(|name, distro| {
            let lives = distro.expires > now;
            if !lives {
                ended.push((name.clone(), distro.session.connection));
            }
            lives
        });
        ended
    }

    /// When [`Ledger::expire`] next has something to do.
    pub fn next_deadline(&self) -> Option<Awake> {
        self.distros.values().map(|distro| distro.expires).min()
    }

    /// Changes the terms. A new limit counts at once, a new lease or grace from the next event of each distro.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
        for distro in self.distros.values_mut() {
            self.arrivals += 1;
            distro.rank(terms.max_forwards, self.arrivals);
        }
    }

    /// What the distros want now, ranked.
    pub fn claims(&self) -> Claims<'_> {
        Claims::of(self.distros.iter().map(|(name, distro)| {
            let (granted, over_limit) = distro.granted(self.terms.max_forwards);
            let claims = DistroClaims {
                peer: distro.session.peer,
                mode: distro.session.mode,
                heard: distro.session.generation.is_some(),
                granted,
                over_limit,
                revoked: &distro.set.revoked,
            };
            (name.as_str(), claims, &distro.arrived)
        }))
    }

    /// The distro for which this session speaks on this connection.
    ///
    /// # Errors
    /// [`ErrorCode::StaleSession`].
    pub fn distro_of(&self, session: SessionId, connection: ConnectionId) -> Result<&str, Problem> {
        self.distros
            .iter()
            .find(|(_, distro)| distro.session.speaks(session, connection))
            .map(|(name, _)| name.as_str())
            .ok_or_else(stale_session)
    }

    /// The sessions, by the names of their distros.
    pub fn sessions(&self) -> impl Iterator<Item = SessionStatus<'_>> {
        self.distros
            .iter()
            .map(|(distro, Distro { session, .. })| SessionStatus {
                distro,
                id: session.id,
                peer: session.peer,
                mode: session.mode,
                boot_id: &session.boot_id,
                daemon: &session.daemon,
                connected: session.connection.is_some(),
                generation: session.generation,
            })
    }
}

impl Distro {
    /// The forwards within the limit and those over it.
    fn granted(&self, max_forwards: usize) -> (&[Forward], &[Forward]) {
        let forwards = &self.set.forwards;
        forwards.split_at(max_forwards.min(forwards.len()))
    }

    /// Ranks the claims: those that it already had keep their rank, new ones come last.
    fn rank(&mut self, max_forwards: usize, arrival: u64) {
        let (granted, _) = self.granted(max_forwards);
        let ranked = granted.iter().map(|forward| {
            let key = Key::of(forward);
            (key, self.arrived.get(&key).copied().unwrap_or(arrival))
        });
        self.arrived = ranked.collect();
    }
}

impl Session {
    fn speaks(&self, session: SessionId, connection: ConnectionId) -> bool {
        self.id == session && self.connection == Some(connection)
    }

    /// Whether another running distro of the same VM has this one's key. A connection that was lost a moment ago changes
    /// nothing: its grace is for the distro that lost it. One that was restarted has to wait for the end of that grace.
    fn is_cloned_by(&self, newer: &Self) -> bool {
        self.boot_id == newer.boot_id && self.pid_namespace != newer.pid_namespace
    }
}

fn current_mut(
    distros: &mut BTreeMap<String, Distro>,
    session: SessionId,
    connection: ConnectionId,
) -> Result<&mut Distro, Problem> {
    distros
        .values_mut()
        .find(|distro| distro.session.speaks(session, connection))
        .ok_or_else(stale_session)
}

/// Refuses what would let a claim lead elsewhere than the truth. A session in NAT mode from 127.0.0.1 would have Windows' own loopback
/// services dialled; one that shares ports comes from there and nowhere else.
fn comes_from_where_its_mode_says(peer: IpAddr, mode: Mode) -> Result<(), Problem> {
    let is_local = peer.to_canonical().is_loopback();
    let message = match (mode.shares_ports(), is_local) {
        (true, true) | (false, false) => return Ok(()),
        (false, true) => format!(
            "wslnetd says that WSL's networking mode is {mode}, but its session comes from {peer}, as in the modes that share Windows' \
             ports: remove `companion` from its configuration, and in WSL see what `wslinfo --networking-mode` says"
        ),
        (true, false) => format!(
            "wslnetd says that WSL's networking mode is {mode}, but its session comes from {peer} and not from 127.0.0.1: remove \
             `companion` from its configuration, and see what `wslinfo --networking-mode` says"
        ),
    };
    Err(Problem::new(ErrorCode::WrongMode, message))
}

fn stale_session() -> Problem {
    let message = "this is not the current session of this key, or not the connection that opened it: open a new session";
    Problem::new(ErrorCode::StaleSession, message)
}

/// The far end of time where the sum would lie beyond it.
fn later(now: Awake, wait: Duration) -> Awake {
    now.checked_add(wait).unwrap_or(Awake::after_start(Duration::MAX))
}
