//! The pairing of a distro with Windows: one line of JSON each way, over the pipes of a program that the system started as
//! the distro's root. Only public keys are in them.
//!
//! The companion makes an [`Offer`], the distro keeps the key in it and answers with a [`Reply`]; then the companion keeps the key
//! in that. Whoever dies in between leaves at most one side that trusts the other, which opens nothing, and the next
//! pairing starts from there.

use std::io::{self, BufRead, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::keys::{PublicKey, hex};

/// The version of the two messages.
pub const PAIRING_VERSION: u32 = 1;

/// The longest line, in bytes, with its end.
pub const PAIRING_LINE_BYTES: usize = 4096;

/// What the companion says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// [`PAIRING_VERSION`].
    pub pairing: u32,
    /// The companion's key.
    pub companion: PublicKey,
}

impl Offer {
    /// The offer of a companion with this key.
    pub fn new(companion: PublicKey) -> Self {
        Self {
            pairing: PAIRING_VERSION,
            companion,
        }
    }
}

/// What the distro answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It trusts the companion's key from now on.
    Paired {
        /// The distro's key.
        distro: PublicKey,
    },
    /// It does not, and nothing has changed.
    Refused {
        /// Why, and what to do.
        reason: String,
    },
}

/// Why a line of a pairing is not one.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    /// The pipe failed.
    #[error("the pipe to the other side broke")]
    Broken(#[source] io::Error),
    /// The other side ended without a whole line.
    #[error("the other side ended without saying anything that belongs to a pairing")]
    Ended,
    /// The line has no end within the limit.
    #[error("the other side's line is longer than {PAIRING_LINE_BYTES} bytes")]
    TooLong,
    /// The line is something else.
    #[error("the other side said something that does not belong to a pairing")]
    Malformed(#[source] serde_json::Error),
    /// The other program is of another release.
    #[error(
        "the other side pairs by version {0}, this program by {PAIRING_VERSION}: install the same release on both sides"
    )]
    Version(u32),
}

/// Reads the offer.
///
/// # Errors
/// No line, no offer, or one of another version.
pub fn read_offer(from: impl BufRead) -> Result<Offer, PairingError> {
    /// What every version has.
    #[derive(Deserialize)]
    struct Any {
        pairing: u32,
    }
    let line = line(from)?;
    let Any { pairing } = parse(&line)?;
    if pairing != PAIRING_VERSION {
        return Err(PairingError::Version(pairing));
    }
    parse(&line)
}

/// Reads the reply.
///
/// # Errors
/// No line, or no reply.
pub fn read_reply(from: impl BufRead) -> Result<Reply, PairingError> {
    parse(&line(from)?)
}

/// Writes one of the two messages, and the end of its line.
///
/// # Errors
/// What the pipe says.
pub fn write_line(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// What both sides show of a pairing, for people to compare: the first 8 bytes of the SHA-256 of the companion's
/// SubjectPublicKeyInfo and the distro's, one after the other, as `1a2b-3c4d-5e6f-7a8b`.
pub fn pairing_fingerprint(companion: &PublicKey, distro: &PublicKey) -> String {
    let both = [companion.to_spki(), distro.to_spki()].concat();
    let digest = ring::digest::digest(&ring::digest::SHA256, &both);
    let groups: Vec<String> = digest.as_ref()[..8].chunks(2).map(hex).collect();
    groups.join("-")
}

fn line(from: impl BufRead) -> Result<Vec<u8>, PairingError> {
    let mut line = Vec::new();
    from.take(PAIRING_LINE_BYTES as u64)
        .read_until(b'\n', &mut line)
        .map_err(PairingError::Broken)?;
    match line.last() {
        Some(b'\n') => Ok(line),
        _ if line.len() >= PAIRING_LINE_BYTES => Err(PairingError::TooLong),
        _ => Err(PairingError::Ended),
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, PairingError> {
    serde_json::from_slice(line).map_err(PairingError::Malformed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use crate::keys::KeyPair;

    #[test]
    fn both_messages_survive_their_line() {
        let key = KeyPair::generate().unwrap().public();
        let refused = Reply::Refused {
            reason: "no\nroom".to_owned(),
        };
        for reply in [Reply::Paired { distro: key }, refused] {
            let mut line = Vec::new();
            write_line(&mut line, &reply).unwrap();
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(read_reply(line.as_slice()).unwrap(), reply);
        }
        let mut line = Vec::new();
        write_line(&mut line, &Offer::new(key)).unwrap();
        assert_eq!(read_offer(line.as_slice()).unwrap(), Offer::new(key));
    }

    #[test]
    fn what_is_no_offer_is_refused() {
        let endless = vec![b' '; PAIRING_LINE_BYTES * 2];
        let weak = format!("{{\"pairing\":1,\"companion\":\"{}\"}}\n", "0".repeat(64));
        let offer = |text: &[u8]| read_offer(text).unwrap_err();

        assert!(matches!(offer(b""), PairingError::Ended));
        assert!(matches!(offer(b"{\"pairing\":1}"), PairingError::Ended));
        assert!(matches!(offer(&endless), PairingError::TooLong));
        assert!(matches!(offer(b"GET / HTTP/1.1\r\n"), PairingError::Malformed(_)));
        assert!(matches!(offer(b"{\"pairing\":1}\n"), PairingError::Malformed(_)));
        assert!(matches!(offer(weak.as_bytes()), PairingError::Malformed(_)));
        assert!(matches!(
            offer(b"{\"pairing\":2,\"keys\":[]}\n"),
            PairingError::Version(2)
        ));
    }

    #[test]
    fn a_later_release_may_say_more() {
        let key = KeyPair::generate().unwrap().public();
        let line = format!("{{\"pairing\":1,\"companion\":\"{key}\",\"more\":[]}}\n");

        assert_eq!(read_offer(line.as_bytes()).unwrap(), Offer::new(key));
    }

    #[test]
    fn the_fingerprint_is_that_of_both_keys_in_their_order() {
        let key = |byte: &str| byte.repeat(32).parse::<PublicKey>().unwrap();
        let (one, other) = (key("19"), key("bf"));

        // Computed by Python's hashlib.
        assert_eq!(pairing_fingerprint(&one, &other), "81f2-eb96-e8d5-8fc7");
        assert_ne!(
            pairing_fingerprint(&one, &other),
            pairing_fingerprint(&other, &one)
        );
    }
}
