//! One question to the companion that changes nothing: whether both sides trust each other, as a session would find out.

use std::net::SocketAddr;

use wslnet_link::{KeyPair, PublicKey};
use wslnet_protocol::{ErrorCode, SessionId};

use super::client::Client;
use super::error::PushError;

/// What the companion makes of this distro's key, and it of the companion's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Welcome {
    /// Both trust each other.
    Accepted,
    /// Windows does not trust this distro's key.
    NotTrustedThere,
    /// Whoever answers has another key than the trusted companion.
    NotTrustedHere,
    /// The handshake, or the question, was not answered.
    Silent,
    /// The other side speaks another version of the protocol.
    OtherVersion(String),
    /// It failed in another way.
    Failed(String),
}

/// Shakes hands, and asks to renew a session that does not exist. The companion refuses that after it has let the key in, and a
/// session that this distro has stays what it is; of the two connections that a distro may have, this is the second one.
pub(crate) async fn probe(companion: SocketAddr, own: &KeyPair, pin: PublicKey) -> Welcome {
    let client = match Client::new(companion, own, pin) {
        Ok(client) => client,
        Err(error) => return Welcome::Failed(error.to_string()),
    };
    match client.renew(SessionId(0), 0).await {
        Ok(_) => Welcome::Accepted,
        Err(error) => of(error),
    }
}

fn of(error: PushError) -> Welcome {
    match error {
        PushError::Problem(problem) => match problem.error {
            ErrorCode::StaleSession => Welcome::Accepted,
            ErrorCode::UnsupportedVersion | ErrorCode::NotFound => Welcome::OtherVersion(problem.message),
            ErrorCode::StaleGeneration
            | ErrorCode::ClonedKey
            | ErrorCode::Invalid
            | ErrorCode::Forbidden
            | ErrorCode::Unavailable => Welcome::Failed(problem.message),
        },
        PushError::NotTrustedThere(_) => Welcome::NotTrustedThere,
        PushError::NotTrustedHere(_) => Welcome::NotTrustedHere,
        PushError::Silent(_) | PushError::NoAnswer(_) => Welcome::Silent,
        error @ PushError::Answer(_) => Welcome::OtherVersion(error.to_string()),
        error @ (PushError::Refused(_)
        | PushError::Unreachable(..)
        | PushError::Closed
        | PushError::Broken(..)) => Welcome::Failed(error.to_string()),
    }
}
