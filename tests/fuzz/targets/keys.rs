//! Keys, the list of those that are trusted, and the two lines by which they are learnt.

use wslnet_link::{KeyPair, PAIRING_LINE_BYTES, PublicKey, fuzzing, read_offer, read_reply, write_line};

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
    pairing(bytes);
}

fn pairing(line: &[u8]) {
    let mut written = Vec::new();
    if let Ok(offer) = read_offer(line) {
        assert!(write_line(&mut written, &offer).is_ok() && written.len() <= PAIRING_LINE_BYTES);
        assert!(read_offer(written.as_slice()).is_ok_and(|again| again == offer));
    }
    if let Ok(reply) = read_reply(line) {
        written.clear();
        assert!(write_line(&mut written, &reply).is_ok());
        // Escapes may make a reason longer than it came.
        if written.len() <= PAIRING_LINE_BYTES {
            assert!(read_reply(written.as_slice()).is_ok_and(|again| again == reply));
        }
    }
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
