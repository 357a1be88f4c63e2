//! What is published of the sockets of a scan. Listeners about which nothing is new stay the very same values, and what those of one owner
//! have in common is in memory once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::Listener;
use crate::labels::{Owner, Part, labels_with, owner_part};
use crate::listeners::{Socket, TransportPort};

/// A socket, and what is known of its owner.
#[derive(Debug)]
pub(crate) struct Attributed<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) owner: Option<Arc<Owner>>,
    /// See [`Listener::is_decided`].
    pub(crate) is_decided: bool,
}

/// Those of which there is something to say: whose owner is known, or who share a port with one of these.
pub(super) fn that_matter(all: Vec<Attributed<'_>>) -> impl Iterator<Item = Attributed<'_>> {
    let decided = all.iter().filter(|one| one.is_decided);
    let ports: BTreeSet<TransportPort> = decided.map(|one| one.socket.port()).collect();
    all.into_iter()
        .filter(move |one| one.is_decided || one.owner.is_some() || ports.contains(&one.socket.port()))
}

/// These sockets with their owners, taking over from the listeners `before` what is the same. `at` is when new ones were seen.
pub(crate) fn listeners<'a>(
    before: &[Arc<Listener>],
    sockets: impl Iterator<Item = Attributed<'a>>,
    at: Instant,
) -> Vec<Arc<Listener>> {
    let known: BTreeMap<u64, &Arc<Listener>> = before
        .iter()
        .map(|listener| (listener.socket.id(), listener))
        .collect();
    let mut parts = OwnersParts::of(before);
    let with_owner = |one: Attributed<'a>| {
        let Attributed {
            socket,
            owner,
            is_decided,
        } = one;
        let known = known.get(&socket.id());
        let is_same = |known: &&&Arc<Listener>| {
            known.socket == *socket && known.owner == owner && known.is_decided == is_decided
        };
        if let Some(same) = known.filter(is_same) {
            return Arc::clone(same);
        }
        Arc::new(Listener {
            labels: labels_with(socket, parts.part(socket.uid, owner.as_ref())),
            // The word of an owner who is known only now is not asked for yet.
            since: known
                .filter(|known| known.is_decided)
                .map_or(at, |known| known.since),
            socket: socket.clone(),
            owner,
            is_decided,
        })
    };
    sockets.map(with_owner).collect()
}

/// The labels of owners, each once. Those of nobody hang on the user alone.
#[derive(Debug)]
struct OwnersParts(BTreeMap<(u32, Option<*const Owner>), Part>);

impl OwnersParts {
    /// Begins with those that these listeners have. They outlive it, so that an owner's address stays its own.
    fn of(listeners: &[Arc<Listener>]) -> Self {
        let mut parts = Self(BTreeMap::new());
        for listener in listeners {
            let owner = listener.owner.as_ref().map(Arc::as_ptr);
            if let Some(part) = listener.labels.last_part() {
                let place = parts.0.entry((listener.socket.uid, owner));
                place.or_insert_with(|| Arc::clone(part));
            }
        }
        parts
    }

    fn part(&mut self, uid: u32, owner: Option<&Arc<Owner>>) -> Part {
        let place = self.0.entry((uid, owner.map(Arc::as_ptr)));
        let part = place.or_insert_with(|| owner_part(uid, owner.map(|owner| &**owner)));
        Arc::clone(part)
    }
}
