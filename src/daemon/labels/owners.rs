//! One value for all the sockets of an owner, and the same one for as long as nothing about that owner changes: a process may
//! hold ten thousand sockets, and what is known of it is in memory once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Owner;
use super::processes::{Description, Holder};

/// The owners that were told and are still known to somebody.
#[derive(Debug, Default)]
pub(super) struct Owners {
    told: BTreeSet<Arc<Owner>>,
}

/// The owners of one round, by what they are made of.
#[derive(Debug)]
pub(super) struct Round<'a> {
    told: &'a mut BTreeSet<Arc<Owner>>,
    made: BTreeMap<(u32, Vec<*const Description>), Arc<Owner>>,
}

impl Owners {
    /// Begins a round. What is known of a process does not change until its end.
    pub(super) fn round(&mut self) -> Round<'_> {
        self.told.retain(|owner| Arc::strong_count(owner) > 1);
        Round {
            told: &mut self.told,
            made: BTreeMap::new(),
        }
    }
}

impl Round<'_> {
    /// The owner of a socket that this user made and these processes hold; `make` tells it if it was not asked for yet.
    pub(super) fn of(&mut self, uid: u32, holders: &[Holder], make: impl FnOnce() -> Owner) -> Arc<Owner> {
        let descriptions = holders.iter().map(|holder| Arc::as_ptr(&holder.description));
        let made = self.made.entry((uid, descriptions.collect()));
        let owner = made.or_insert_with(|| {
            let owner = make();
            if let Some(told) = self.told.get(&owner) {
                return Arc::clone(told);
            }
            let owner = Arc::new(owner);
            self.told.insert(Arc::clone(&owner));
            owner
        });
        Arc::clone(owner)
    }
}
