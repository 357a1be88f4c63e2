//! The connections that we dialled: how a relay recognises itself as its own client.
//!
//! Both ends count. A client on this very machine may share its local address with one of our sockets, as Linux gives
//! the same port to connections with different destinations.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An address and a port, without the flow and scope of IPv6, and with IPv4 in its plain form: a dual-stack listener
/// names IPv4 clients `::ffff:a.b.c.d`.
pub(crate) type Place = (IpAddr, u16);

pub(crate) fn place(address: SocketAddr) -> Place {
    (address.ip().to_canonical(), address.port())
}

/// A connection of ours as the one who dialled it sees it: from where, to where.
type Path = (Place, Place);

/// Our connections. They are counted, as two may look the same while not all of their address is known.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    paths: Mutex<BTreeMap<Path, usize>>,
}

impl Outbound {
    /// Runs `connect`, which starts a connection to `target` without waiting for it and returns the local address, as
    /// one step towards [`Outbound::contains`]: nobody can be accepted on that connection and not be recognised.
    ///
    /// # Errors
    /// Those of `connect`.
    pub(crate) fn start<E>(
        self: &Arc<Self>,
        target: SocketAddr,
        connect: impl FnOnce() -> Result<SocketAddr, E>,
    ) -> Result<Claim, E> {
        let mut paths = self.lock();
        let path = (place(connect()?), place(target));
        *paths.entry(path).or_default() += 1;
        drop(paths);
        Ok(Claim {
            outbound: Arc::clone(self),
            path,
        })
    }

    /// Whether the connection that came in from `peer` to our address `local` is one that we dialled.
    pub(crate) fn contains(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        let ((ip, port), local) = (place(peer), place(local));
        // While Windows is still connecting it may know the port only.
        let unspecified = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ];
        let paths = self.lock();
        std::iter::once(ip)
            .chain(unspecified)
            .any(|ip| paths.contains_key(&((ip, port), local)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Path, usize>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds the entry of one connection for as long as its socket lives.
#[derive(Debug)]
pub(crate) struct Claim {
    outbound: Arc<Outbound>,
    path: Path,
}

impl Claim {
    /// Whether the local address is fully known.
    pub(crate) fn is_settled(&self) -> bool {
        !self.path.0.0.is_unspecified()
    }

    /// The socket is connected and its local address fully known.
    pub(crate) fn settle(&mut self, address: SocketAddr) {
        let settled = (place(address), self.path.1);
        if settled == self.path {
            return;
        }
        let mut paths = self.outbound.lock();
        *paths.entry(settled).or_default() += 1;
        release(&mut paths, self.path);
        self.path = settled;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        release(&mut self.outbound.lock(), self.path);
    }
}

fn release(paths: &mut BTreeMap<Path, usize>, path: Path) {
    if let Some(sockets) = paths.get_mut(&path) {
        *sockets -= 1;
        if *sockets == 0 {
            paths.remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

    use super::*;

    const TARGET: &str = "10.0.0.9:80";

    #[test]
    fn a_connection_is_ours_until_its_last_socket_goes() {
        let outbound = Arc::new(Outbound::default());

        let one = claim(&outbound, "10.0.0.1:5000");
        let two = claim(&outbound, "10.0.0.1:5000");
        drop(one);
        assert!(outbound.contains(at("10.0.0.1:5000"), at(TARGET)));
        assert!(outbound.contains(at("[::ffff:10.0.0.1]:5000"), at("[::ffff:10.0.0.9]:80")));
        assert!(!outbound.contains(at("10.0.0.1:5001"), at(TARGET)));
        assert!(!outbound.contains(at("10.0.0.2:5000"), at(TARGET)));

        drop(two);
        assert!(!outbound.contains(at("10.0.0.1:5000"), at(TARGET)));
    }

    #[test]
    fn a_client_that_shares_our_local_address_is_not_ours() {
        let outbound = Arc::new(Outbound::default());

        let _claim = claim(&outbound, "10.0.0.1:5000");

        assert!(!outbound.contains(at("10.0.0.1:5000"), at("10.0.0.9:8080")));
    }

    #[test]
    fn a_half_known_address_holds_its_port_until_it_settles() {
        let outbound = Arc::new(Outbound::default());

        let mut claim = claim(&outbound, "0.0.0.0:5000");
        assert!(!claim.is_settled());
        assert!(outbound.contains(at("10.0.0.1:5000"), at(TARGET)));

        claim.settle(at("10.0.0.1:5000"));
        assert!(claim.is_settled());
        assert!(outbound.contains(at("10.0.0.1:5000"), at(TARGET)));
        assert!(!outbound.contains(at("10.0.0.2:5000"), at(TARGET)));
    }

    fn claim(outbound: &Arc<Outbound>, address: &str) -> Claim {
        outbound.start(at(TARGET), || Ok::<_, ()>(at(address))).unwrap()
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }
}
