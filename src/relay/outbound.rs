//! The local addresses of the sockets that we dialled out with: how a relay recognises itself as its own client.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An address and a port, without the flow and scope of IPv6, and with IPv4 in its plain form: a dual-stack listener
/// names IPv4 clients `::ffff:a.b.c.d`.
type Place = (IpAddr, u16);

fn place(address: SocketAddr) -> Place {
    (address.ip().to_canonical(), address.port())
}

/// Local addresses in use, with the number of sockets at each: sockets with different targets may share one.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    places: Mutex<BTreeMap<Place, usize>>,
}

impl Outbound {
    /// Runs `connect`, which starts a connection without waiting for it and returns the local address, as one step
    /// towards [`Outbound::contains`]: nobody can be accepted with that address and not be recognised.
    ///
    /// # Errors
    /// Those of `connect`.
    pub(crate) fn start<E>(
        self: &Arc<Self>,
        connect: impl FnOnce() -> Result<SocketAddr, E>,
    ) -> Result<Claim, E> {
        let mut places = self.lock();
        let place = place(connect()?);
        *places.entry(place).or_default() += 1;
        drop(places);
        Ok(Claim {
            outbound: Arc::clone(self),
            place,
        })
    }

    /// Whether a client at `peer` is one of our own sockets.
    pub(crate) fn contains(&self, peer: SocketAddr) -> bool {
        let (ip, port) = place(peer);
        let places = self.lock();
        // While Windows is still connecting it may know the port only.
        let half_known = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        let half_known_v6 = (IpAddr::from([0u16; 8]), port);
        [(ip, port), half_known, half_known_v6]
            .iter()
            .any(|place| places.contains_key(place))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, usize>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds one local address for as long as its socket lives.
#[derive(Debug)]
pub(crate) struct Claim {
    outbound: Arc<Outbound>,
    place: Place,
}

impl Claim {
    /// The socket is connected and its address fully known.
    pub(crate) fn settle(&mut self, address: SocketAddr) {
        let settled = place(address);
        if settled == self.place {
            return;
        }
        let mut places = self.outbound.lock();
        *places.entry(settled).or_default() += 1;
        release(&mut places, self.place);
        self.place = settled;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        release(&mut self.outbound.lock(), self.place);
    }
}

fn release(places: &mut BTreeMap<Place, usize>, place: Place) {
    if let Some(sockets) = places.get_mut(&place) {
        *sockets -= 1;
        if *sockets == 0 {
            places.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

    use super::*;

    #[test]
    fn an_address_is_ours_until_its_last_socket_goes() {
        let outbound = Arc::new(Outbound::default());

        let one = claim(&outbound, "10.0.0.1:5000");
        let two = claim(&outbound, "10.0.0.1:5000");
        drop(one);
        assert!(outbound.contains(at("10.0.0.1:5000")));
        assert!(outbound.contains(at("[::ffff:10.0.0.1]:5000")));
        assert!(!outbound.contains(at("10.0.0.1:5001")));
        assert!(!outbound.contains(at("10.0.0.2:5000")));

        drop(two);
        assert!(!outbound.contains(at("10.0.0.1:5000")));
    }

    #[test]
    fn a_half_known_address_holds_its_port_until_it_settles() {
        let outbound = Arc::new(Outbound::default());

        let mut claim = claim(&outbound, "0.0.0.0:5000");
        assert!(outbound.contains(at("10.0.0.1:5000")));

        claim.settle(at("10.0.0.1:5000"));
        assert!(outbound.contains(at("10.0.0.1:5000")));
        assert!(!outbound.contains(at("10.0.0.2:5000")));
    }

    fn claim(outbound: &Arc<Outbound>, address: &str) -> Claim {
        outbound.start(|| Ok::<_, ()>(at(address))).unwrap()
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }
}
