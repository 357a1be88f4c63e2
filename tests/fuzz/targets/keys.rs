//! Keys and the list of those that are trusted.

use wslnet_link::{KeyPair, PublicKey, fuzzing};

pub(super) fn target(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        public_key(text);
    }
    if let Some(key) = PublicKey::from_spki(bytes) {
        assert_eq!(key.to_spki(), bytes);
    }
    if let Ok(pair) = KeyPair::from_pkcs8(bytes) {
        assert!(!format!("{pair:?}").contains("pkcs8"));
    }
    list(bytes);
}

fn public_key(text: &str) {
    match text.parse::<PublicKey>() {
        Ok(key) => {
            assert_eq!(key.to_string(), text.trim().to_ascii_lowercase());
            assert_eq!(PublicKey::from_spki(&key.to_spki()), Some(key));
        }
        Err(error) => assert!(error.to_string().contains("64")),
    }
}

fn list(content: &[u8]) {
    let Ok(peers) = fuzzing::peers(content) else {
        return;
    };
    for (name, key) in &peers {
        assert!((1..=64).contains(&name.len()) && name.is_ascii());
        assert_eq!(peers.name_of(key), Some(name.as_str()));
    }
    let written = fuzzing::text(&peers).map(|text| fuzzing::peers(text.as_bytes()));
    assert!(matches!(written, Ok(Ok(again)) if again == peers));
}
