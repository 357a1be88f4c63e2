//! Bodies of requests and answers, and whether what passes the checks keeps the rules.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde_json::{from_slice, to_vec};
use wslnet_console::text::clean;
use wslnet_protocol::{
    Applied, ForwardSet, OpenSession, Problem, Renew, Renewed, SessionOpened, limits, name,
};

use crate::printable::assert_line;

pub(super) fn target(body: &[u8]) {
    if let Some(set) = read::<ForwardSet>(body) {
        match set.validate() {
            Ok(()) => assert_valid(&set),
            Err(invalid) => assert_line(&invalid.to_string()),
        }
    }
    if let Some(session) = read::<OpenSession>(body) {
        match session.validate() {
            Ok(()) => [&session.boot_id, &session.daemon]
                .into_iter()
                .for_each(|text| assert_shown(text)),
            Err(invalid) => assert_line(&invalid.to_string()),
        }
    }
    read::<Renew>(body);
    read::<SessionOpened>(body);
    read::<Applied>(body);
    read::<Renewed>(body);
    read::<Problem>(body);
}

/// Reads a body; what is written of it reads as the same.
fn read<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug>(body: &[u8]) -> Option<T> {
    let value = from_slice::<T>(body).ok()?;
    let again = to_vec(&value).ok().and_then(|json| from_slice::<T>(&json).ok());
    assert_eq!(again.as_ref(), Some(&value));
    Some(value)
}

fn assert_valid(set: &ForwardSet) {
    let forwards = &set.forwards;
    assert!(forwards.len().max(set.revoked.len()) <= limits::FORWARDS_IN_SET);
    let ids: BTreeSet<_> = forwards.iter().map(|forward| forward.id).collect();
    let ports: BTreeSet<_> = forwards
        .iter()
        .map(|forward| (forward.protocol, forward.listen_port))
        .collect();
    assert_eq!((ids.len(), ports.len()), (forwards.len(), forwards.len()));
    assert!(set.revoked.iter().all(|id| !ids.contains(id)));
    for forward in forwards {
        assert!(forward.port > 0 && forward.listen_port > 0);
        assert!(forward.labels.len() <= limits::LABELS);
        forward.labels.iter().for_each(|text| assert_shown(text));
        assert!(
            forward
                .name
                .as_deref()
                .is_none_or(|text| name::check(text).is_ok())
        );
    }
}

/// A text that is short and shown as it is.
fn assert_shown(text: &str) {
    assert!(!text.is_empty());
    assert_eq!(clean(text, limits::TEXT_CHARS), text);
}
