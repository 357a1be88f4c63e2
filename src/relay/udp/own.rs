//! The addresses that are ours: how the UDP relay recognises itself, and its own targets, as a client.
//!
//! Besides our upstream sockets those are our listening addresses and our targets. One datagram with such a source, which
//! anybody can forge, would have us and a service that answers everything send to each other for ever (CVE-2024-2169).
//! In UDP one end is enough to tell: unlike with TCP, the system gives no port to two sockets at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use crate::outbound::{Place, place};

/// Our addresses. They are counted, as forwards may share their target.
#[derive(Debug, Default)]
pub(crate) struct Own {
    places: RwLock<BTreeMap<Place, usize>>,
}

impl Own {
    /// Makes `address` ours for as long as the claim lives.
    pub(super) fn claim(self: &Arc<Self>, address: SocketAddr) -> Claim {
        let place = place(address);
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        *places.entry(place).or_default() += 1;
        drop(places);
        Claim {
            own: Arc::clone(self),
            place,
        }
    }

    /// Whether a datagram from `client` is one of ours, or one that must pass for it.
    pub(super) fn contains(&self, client: SocketAddr) -> bool {
        self.places
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&place(client))
    }
}

/// Holds one address.
#[derive(Debug)]
pub(super) struct Claim {
    own: Arc<Own>,
    place: Place,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut places = self.own.places.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(claims) = places.get_mut(&self.place) {
            *claims -= 1;
            if *claims == 0 {
                places.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

    use super::*;

    #[test]
    fn an_address_is_ours_until_its_last_claim_goes() {
        let own = Arc::new(Own::default());

        let one = own.claim(at("10.0.0.9:53"));
        let other = own.claim(at("10.0.0.9:53"));
        drop(one);

        assert!(own.contains(at("10.0.0.9:53")));
        assert!(own.contains(at("[::ffff:10.0.0.9]:53")));
        assert!(!own.contains(at("10.0.0.9:54")));
        assert!(!own.contains(at("10.0.0.8:53")));
        drop(other);
        assert!(!own.contains(at("10.0.0.9:53")));
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }
}
