//! How a request fails.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What kind of failure; programs decide by this.
    pub error: ErrorCode,
    /// One sentence for people: what is wrong and what to do.
    pub message: String,
}

impl Problem {
    /// A problem of the given kind with its sentence.
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error,
            message: message.into(),
        }
    }
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The session is not the current one of this key, or not the one of this connection: open a new one. 409.
    StaleSession,
    /// The generation is not newer than what the companion has. 409.
    StaleGeneration,
    /// Another running distro uses the same key (an exported and imported copy). 409.
    ClonedKey,
    /// The session does not come from where its networking mode says that it does. 409.
    WrongMode,
    /// The companion does not speak this protocol version. 426.
    UnsupportedVersion,
    /// The request is malformed or breaks a limit; nothing was applied. 400 or 422.
    Invalid,
    /// The request carries what only a browser or a proxy would send. 403.
    Forbidden,
    /// No such path or method. 404 or 405.
    NotFound,
    /// The companion is stopping. 503.
    Unavailable,
}

impl ErrorCode {
    /// The HTTP status with which this problem travels.
    pub fn status(self) -> u16 {
        match self {
            Self::StaleSession | Self::StaleGeneration | Self::ClonedKey | Self::WrongMode => 409,
            Self::UnsupportedVersion => 426,
            Self::Invalid => 422,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Unavailable => 503,
        }
    }
}

/// Why a message that parsed is refused all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// More forwards than [`limits::FORWARDS_IN_SET`](crate::limits::FORWARDS_IN_SET).
    #[error("the set has {0} forwards; {max} is the limit", max = crate::limits::FORWARDS_IN_SET)]
    TooManyForwards(usize),
    /// Two forwards share an id.
    #[error("two forwards have the id {0}")]
    DuplicateId(crate::ForwardId),
    /// Two forwards want the same port of Windows.
    #[error("two forwards want {0} port {1} of Windows")]
    DuplicatePort(crate::Protocol, u16),
    /// A port is 0.
    #[error("forward {0} names port 0")]
    PortZero(crate::ForwardId),
    /// A text is too long or holds control characters.
    #[error("forward {0} carries a text that is too long or holds control characters")]
    Text(crate::ForwardId),
    /// A name is none; see [`name::check`](crate::name::check).
    #[error("forward {0} has a name that is not one label of a to z, 0 to 9 and -")]
    Name(crate::ForwardId),
    /// More labels than [`limits::LABELS`](crate::limits::LABELS).
    #[error("forward {0} carries more than {max} labels", max = crate::limits::LABELS)]
    TooManyLabels(crate::ForwardId),
    /// A forward is asked for and revoked at once.
    #[error("forward {0} is both wanted and revoked")]
    RevokedAndWanted(crate::ForwardId),
    /// A field of [`OpenSession`](crate::OpenSession) is too long or holds control characters.
    #[error("`{0}` is empty, too long or holds control characters")]
    SessionText(&'static str),
}
