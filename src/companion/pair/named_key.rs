//! A key and the name under which it is to be trusted.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use wslnet_link::{PublicKey, StoreError, is_peer_name};

/// Written as `NAME=KEY`. The name is one under which a key can be trusted, so that neither half has a character that means
/// anything on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedKey {
    /// The name.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// What is no name with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NamedKeyError {
    /// There is no `=`.
    #[error("it must be NAME=KEY")]
    Form,
    /// The name.
    #[error("names have 1 to 64 letters, digits, `.`, `_` and `-`, and start with a letter or a digit")]
    Name,
    /// The key.
    #[error("the key must be 64 hex digits")]
    Key,
}

impl fmt::Display for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.key)
    }
}

impl FromStr for NamedKey {
    type Err = NamedKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, key) = text.split_once('=').ok_or(NamedKeyError::Form)?;
        let key = key.parse().map_err(|_| NamedKeyError::Key)?;
        Self::new(name.to_owned(), key)
    }
}

impl NamedKey {
    /// # Errors
    /// [`NamedKeyError::Name`].
    pub(crate) fn new(name: String, key: PublicKey) -> Result<Self, NamedKeyError> {
        if is_peer_name(&name) {
            Ok(Self { name, key })
        } else {
            Err(NamedKeyError::Name)
        }
    }
}

/// Trusts the key in place of the one that had its name, and says so in a line.
///
/// # Errors
/// Those of the files, and a key that has another name already.
pub(crate) fn trust(state_dir: &Path, named: &NamedKey) -> Result<String, StoreError> {
    let NamedKey { name, key } = named;
    let before = wslnet_link::trust(state_dir, name, *key)?;
    let note = match before {
        Some(before) if before != *key => "; its former key is no longer trusted",
        _ => "",
    };
    Ok(format!("trusted: {name} {}{note}", key.fingerprint()))
}

/// Trusts the key of a name no longer, and says so in a line.
///
/// # Errors
/// Those of the files, and a name that has no key.
pub(crate) fn untrust(state_dir: &Path, name: &str) -> Result<String, StoreError> {
    let key = wslnet_link::untrust(state_dir, name)?;
    Ok(format!("no longer trusted: {name} {}", key.fingerprint()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_holds_nothing_for_a_command_line() {
        let key = "19".repeat(32).parse().unwrap();
        let named = NamedKey::new("Ubuntu-24.04".into(), key).unwrap();

        let text = named.to_string();

        assert_eq!(text.parse(), Ok(named));
        assert!(
            text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'),
            "{text}"
        );
    }

    #[test]
    fn what_could_be_more_than_a_name_and_a_key_is_refused() {
        let key = "19".repeat(32);
        let parse = |text: &str| text.parse::<NamedKey>();
        for name in ["", "a b", "--all", "a\"b", "a=b", "ü", "a\\b"] {
            let refused = parse(&format!("{name}={key}"));
            assert!(refused.is_err(), "{name}: {refused:?}");
        }
        assert_eq!(parse("Ubuntu"), Err(NamedKeyError::Form));
        assert_eq!(parse("Ubuntu=12"), Err(NamedKeyError::Key));
        assert_eq!(parse(&format!("Ubuntu={key} --all")), Err(NamedKeyError::Key));
    }
}
