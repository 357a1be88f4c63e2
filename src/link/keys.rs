//! Ed25519 keys: the public half as people and files write it, and the private half, which nothing ever prints.
//!
//! Where keys are kept is the business of `store.rs` and `peers.rs`.

use std::fmt;
use std::str::FromStr;

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// What every Ed25519 SubjectPublicKeyInfo starts with: SEQUENCE(42), SEQUENCE(5) with the OID 1.3.101.112,
/// BIT STRING(33) with no unused bits (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The encodings of the curve points whose order divides 8, sign bit cleared. Anybody can sign for such a "key"
/// with a few tries, and the first one is what people type as a placeholder.
const WEAK: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// An Ed25519 public key: 32 raw bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Takes the 32 raw bytes (RFC 8032) as they are.
    pub fn from_bytes(raw: [u8; 32]) -> Self {
        Self(raw)
    }

    /// The 32 raw bytes (RFC 8032).
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The DER SubjectPublicKeyInfo: what travels in the TLS handshake, and what pins compare.
    pub fn to_spki(&self) -> [u8; 44] {
        let mut spki = [0; 44];
        spki[..12].copy_from_slice(&SPKI_PREFIX);
        spki[12..].copy_from_slice(&self.0);
        spki
    }

    /// Reads a DER SubjectPublicKeyInfo. `None` for anything but the one 44-byte encoding of an Ed25519 key.
    pub fn from_spki(spki: &[u8]) -> Option<Self> {
        spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok().map(Self)
    }

    /// A short form for people to compare: the first 8 bytes of the SHA-256 of the SubjectPublicKeyInfo, as
    /// `1a2b-3c4d-5e6f-7a8b`. Too short to pin anything.
    pub fn fingerprint(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.to_spki());
        let groups: Vec<String> = digest.as_ref()[..8].chunks(2).map(hex).collect();
        groups.join("-")
    }

    fn is_weak(&self) -> bool {
        let mut unsigned = self.0;
        unsigned[31] &= 0x7f;
        WEAK.contains(&hex(&unsigned).as_str())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = ParsePublicKeyError;

    /// Accepts upper case and surrounding white space: keys come here by copy and paste.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim();
        if let Some((at, found)) = digits.chars().enumerate().find(|(_, c)| !c.is_ascii_hexdigit()) {
            return Err(ParsePublicKeyError::Character {
                found,
                position: at + 1,
            });
        }
        if digits.len() != 64 {
            return Err(ParsePublicKeyError::Length { digits: digits.len() });
        }
        let mut raw = [0; 32];
        for (byte, pair) in raw.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *byte = pair.iter().fold(0, |value, digit| value << 4 | nibble(*digit));
        }
        let key = Self(raw);
        if key.is_weak() {
            Err(ParsePublicKeyError::Weak)
        } else {
            Ok(key)
        }
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a public key. Every message also says what a key looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePublicKeyError {
    /// Something that is not a hexadecimal digit.
    #[error("{found:?} at position {position} is not a hexadecimal digit; a key is 64 digits 0-9 a-f")]
    Character {
        /// The first such character.
        found: char,
        /// Its position, counted from 1.
        position: usize,
    },
    /// Too short or too long.
    #[error(
        "{digits} digits where a key has 64 (0-9 a-f); copy the whole line that the other side's `key` prints"
    )]
    Length {
        /// How many digits there are.
        digits: usize,
    },
    /// A point of small order, for which anybody can make signatures.
    #[error(
        "a placeholder, not a key: anybody could sign for it; \
         a key is the 64 digits 0-9 a-f that the other side's `key` prints"
    )]
    Weak,
}

/// An Ed25519 key pair. The private half never leaves this program except into its own key file, and is wiped from
/// memory when the value is dropped.
#[derive(Clone)]
pub struct KeyPair {
    pkcs8: Zeroizing<Vec<u8>>,
    public: PublicKey,
}

impl KeyPair {
    /// Makes a new key pair from the system's random source.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        // ring's document is a short-lived copy on the stack that ring offers no way to wipe.
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Reads a PKCS#8 version 2 document (DER, RFC 5958), which carries both halves.
    ///
    /// # Errors
    /// The bytes are no such document, or the halves do not belong together.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(der).map_err(KeyError::Parse)?;
        let raw = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| KeyError::PublicHalf)?;
        Ok(Self {
            pkcs8: Zeroizing::new(der.to_vec()),
            public: PublicKey(raw),
        })
    }

    /// The half that others may know.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The PKCS#8 document, for the key file and for TLS.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Why there is no key pair.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system's random source failed.
    #[error("the system gives no random numbers")]
    Random,
    /// Not PKCS#8 with an Ed25519 key, or damaged.
    #[error("not an Ed25519 key in PKCS#8 form: {0}")]
    Parse(ring::error::KeyRejected),
    /// The public half does not have 32 bytes.
    #[error("the public half of the key has the wrong length")]
    PublicHalf,
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of a digit that is known to be hexadecimal.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    /// RFC 8410, section 10.1: the public key of the example, and its SubjectPublicKeyInfo.
    const RFC_KEY: &str = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

    #[test]
    fn a_key_reads_back_as_written() {
        let key: PublicKey = RFC_KEY.parse().unwrap();
        assert_eq!(key.to_string(), RFC_KEY);
        assert_eq!(format!("\t {} \r\n", RFC_KEY.to_uppercase()).parse(), Ok(key));
        assert_eq!(PublicKey::from_bytes(*key.as_bytes()), key);
    }

    #[test]
    fn the_public_key_info_is_the_one_of_rfc_8410() {
        let key: PublicKey = RFC_KEY.parse().unwrap();
        let spki = key.to_spki();
        assert_eq!(hex(&spki), format!("302a300506032b6570032100{RFC_KEY}"));
        assert_eq!(PublicKey::from_spki(&spki), Some(key));
    }

    #[test]
    fn other_public_key_infos_are_not_read() {
        let spki = KeyPair::generate().unwrap().public().to_spki();
        let longer = [&spki[..], &[0]].concat();
        let mut other_algorithm = spki;
        other_algorithm[8] = 0x71; // Ed448
        for bad in [&spki[..43], &longer, &other_algorithm, &[]] {
            assert_eq!(PublicKey::from_spki(bad), None, "{bad:02x?}");
        }
    }

    #[test]
    fn the_fingerprint_is_the_start_of_the_digest_in_groups() {
        let key: PublicKey = RFC_KEY.parse().unwrap();
        assert_eq!(key.fingerprint(), "a1e9-1560-54e0-4fac");
    }

    #[test]
    fn parse_errors_name_the_fault_and_the_form() {
        let long = format!("{RFC_KEY}0");
        let bad_digit = RFC_KEY.replacen('b', "g", 1);
        let cases = [
            ("", "0 digits"),
            (&RFC_KEY[1..], "63 digits"),
            (long.as_str(), "65 digits"),
            (bad_digit.as_str(), "'g' at position 3"),
            ("ed25519:aa", "':' at position 8"),
            ("é", "'é' at position 1"),
            (WEAK[0], "placeholder"),
        ];
        for (text, expected) in cases {
            let message = text.parse::<PublicKey>().unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?}: {message}");
            assert!(message.contains("64"), "{text:?}: {message}");
        }
    }

    #[test]
    fn keys_that_anybody_can_sign_for_are_refused_with_either_sign() {
        for weak in WEAK {
            let with_sign = format!(
                "{}{:02x}",
                &weak[..62],
                u8::from_str_radix(&weak[62..], 16).unwrap() | 0x80
            );
            for text in [weak, &with_sign] {
                assert_eq!(
                    text.parse::<PublicKey>(),
                    Err(ParsePublicKeyError::Weak),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_key_pair_survives_its_document() {
        let pair = KeyPair::generate().unwrap();
        let again = KeyPair::from_pkcs8(pair.pkcs8()).unwrap();
        assert_eq!(again.public(), pair.public());
        assert_ne!(KeyPair::generate().unwrap().public(), pair.public());
    }

    #[test]
    fn a_damaged_document_is_no_key_pair() {
        let pair = KeyPair::generate().unwrap();
        let mut swapped = pair.pkcs8().to_vec();
        let last = swapped.len() - 1;
        swapped[last] ^= 1;
        for bad in [&[][..], &pair.pkcs8()[..40], &swapped] {
            assert!(KeyPair::from_pkcs8(bad).is_err());
        }
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let pair = KeyPair::generate().unwrap();
        // PKCS#8 version 2 for Ed25519 (RFC 8410): the 32 secret bytes start at offset 16.
        let secret = &pair.pkcs8()[16..48];
        let shown = format!("{pair:?} {pair:#?}");
        assert!(shown.contains(&pair.public().to_string()));
        assert!(!shown.contains(&hex(secret)));
        assert!(!shown.contains(&format!("{}, {}, {}", secret[0], secret[1], secret[2])));
    }
}
