//! How sessions open, and what their requests are answered with.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use wslnet_protocol::{Applied, ErrorCode, OpenSession, Problem, Renewed, SessionId, SessionOpened, limits};

use super::work::Work;
use crate::api::Caller;
use crate::host;
use crate::ledger::ConnectionId;

impl Work {
    pub(super) fn open(&mut self, caller: Caller, request: &OpenSession) -> Result<SessionOpened, Problem> {
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
            self.executor.cut_draining(&distro);
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

    pub(super) fn applied(&self, session: SessionId, connection: ConnectionId) -> Result<Applied, Problem> {
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

    pub(super) fn renewed(
        &self,
        session: SessionId,
        connection: ConnectionId,
        seen: u64,
    ) -> Result<Renewed, Problem> {
        let Applied {
            revision, forwards, ..
        } = self.applied(session, connection)?;
        Ok(Renewed {
            revision,
            forwards: (revision != seen).then_some(forwards),
        })
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
