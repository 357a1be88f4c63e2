//! The one event loop of the companion, seen from outside: a handle that sends it commands and waits for the answers.
//!
//! The loop ([`work`]) owns the ledger and the relays. Every change, from a request to a new network address, ends in the
//! same step: plan, apply, compare. So a `PUT` is answered after it was applied.

mod exposure;
mod looks;
mod report;
mod sessions;
mod view;
mod work;

use tokio::sync::{mpsc, oneshot};
use wslnet_protocol::{
    Applied, ErrorCode, ForwardSet, OpenSession, Problem, Renewed, SessionId, SessionOpened,
};

pub use report::{DistroReport, ForwardReport, StatusReport};
pub use work::{Ended, Parts, Work};

use crate::api::Caller;
use crate::ledger::ConnectionId;

/// Sends commands to the event loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(mpsc::Sender<Command>);

/// One thing that the event loop is asked to do.
#[derive(Debug)]
enum Command {
    Open {
        caller: Caller,
        request: OpenSession,
        answer: Answer<SessionOpened>,
    },
    Put {
        session: SessionId,
        connection: ConnectionId,
        generation: u64,
        set: ForwardSet,
        answer: Answer<Applied>,
    },
    Get {
        session: SessionId,
        connection: ConnectionId,
        answer: Answer<Applied>,
    },
    Renew {
        session: SessionId,
        connection: ConnectionId,
        seen: u64,
        answer: Answer<Renewed>,
    },
    Close {
        session: SessionId,
        connection: ConnectionId,
        answer: Answer<()>,
    },
    Lost {
        connection: ConnectionId,
    },
    Report {
        answer: oneshot::Sender<(StatusReport, Vec<ForwardReport>)>,
    },
}

type Answer<T> = oneshot::Sender<Result<T, Problem>>;

impl Engine {
    /// Opens a session for the caller. See [`SessionOpened`].
    ///
    /// # Errors
    /// The ledger's, or that the companion is stopping.
    pub async fn open(&self, caller: Caller, request: OpenSession) -> Result<SessionOpened, Problem> {
        self.ask(|answer| Command::Open {
            caller,
            request,
            answer,
        })
        .await
    }

    /// Replaces the set of a session and applies it.
    ///
    /// # Errors
    /// The ledger's, or that the companion is stopping.
    pub async fn put(
        &self,
        session: SessionId,
        connection: ConnectionId,
        generation: u64,
        set: ForwardSet,
    ) -> Result<Applied, Problem> {
        self.ask(|answer| Command::Put {
            session,
            connection,
            generation,
            set,
            answer,
        })
        .await
    }

    /// Reads the set of a session back.
    ///
    /// # Errors
    /// The ledger's, or that the companion is stopping.
    pub async fn get(&self, session: SessionId, connection: ConnectionId) -> Result<Applied, Problem> {
        self.ask(|answer| Command::Get {
            session,
            connection,
            answer,
        })
        .await
    }

    /// Keeps the lease of a session.
    ///
    /// # Errors
    /// The ledger's, or that the companion is stopping.
    pub async fn renew(
        &self,
        session: SessionId,
        connection: ConnectionId,
        seen: u64,
    ) -> Result<Renewed, Problem> {
        self.ask(|answer| Command::Renew {
            session,
            connection,
            seen,
            answer,
        })
        .await
    }

    /// Ends a session and withdraws its forwards.
    ///
    /// # Errors
    /// The ledger's, or that the companion is stopping.
    pub async fn close(&self, session: SessionId, connection: ConnectionId) -> Result<(), Problem> {
        self.ask(|answer| Command::Close {
            session,
            connection,
            answer,
        })
        .await
    }

    /// Tells that a connection has ended. When the loop has ended too there is nobody left to care.
    pub async fn lost(&self, connection: ConnectionId) {
        if self.0.send(Command::Lost { connection }).await.is_err() {
            tracing::debug!("a connection ended after the engine");
        }
    }

    /// What `status` and `list` show; `None` when the companion is stopping.
    pub async fn report(&self) -> Option<(StatusReport, Vec<ForwardReport>)> {
        let (answer, reply) = oneshot::channel();
        self.0.send(Command::Report { answer }).await.ok()?;
        reply.await.ok()
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Problem> {
        let stopping = || Problem::new(ErrorCode::Unavailable, "wslnet-companion is stopping");
        let (answer, reply) = oneshot::channel();
        self.0.send(command(answer)).await.map_err(|_| stopping())?;
        reply.await.unwrap_or_else(|_| Err(stopping()))
    }
}
