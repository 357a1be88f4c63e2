//! Room for handshakes: who has not proven a key yet gets little of it, and not for long.
//!
//! All programs of a VM share one address, so a stranger among them must not be able to occupy it. When there is no room
//! the oldest handshake makes way for the newest: an honest one takes a millisecond and is never the oldest for long.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

const HANDSHAKES: usize = 32;
const HANDSHAKES_PER_ADDRESS: usize = 4;

/// Bounds the handshakes that run at once, in all and for each source address.
#[derive(Clone, Debug, Default)]
pub(super) struct Doors(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    /// By age.
    under_way: BTreeMap<u64, (IpAddr, CancellationToken)>,
}

impl Doors {
    /// Lets a handshake begin, at the cost of the oldest one where there is no room.
    pub(super) fn enter(&self, address: IpAddr) -> Pass {
        let mut table = self.lock();
        let of_address = table.under_way.iter().filter(|(_, (other, _))| *other == address);
        let of_address = of_address.map(|(number, _)| *number).collect::<Vec<_>>();
        let oldest = if of_address.len() >= HANDSHAKES_PER_ADDRESS {
            of_address.first().copied()
        } else if table.under_way.len() >= HANDSHAKES {
            table.under_way.keys().next().copied()
        } else {
            None
        };
        if let Some((_, end)) = oldest.and_then(|oldest| table.under_way.remove(&oldest)) {
            end.cancel();
        }
        table.last += 1;
        let (number, end) = (table.last, CancellationToken::new());
        table.under_way.insert(number, (address, end.clone()));
        Pass {
            doors: self.clone(),
            number,
            end,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code panics while it holds this lock, and the table is sound between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handshake under way; dropping it makes room.
#[derive(Debug)]
pub(super) struct Pass {
    doors: Doors,
    number: u64,
    end: CancellationToken,
}

impl Pass {
    /// Returns when this handshake has to make way.
    pub(super) async fn revoked(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.doors.lock().under_way.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_handshake_of_an_address_makes_way() {
        let doors = Doors::default();
        let mut passes = (0..HANDSHAKES_PER_ADDRESS)
            .map(|_| doors.enter(address(2)))
            .collect::<Vec<_>>();
        let other = doors.enter(address(3));

        passes.push(doors.enter(address(2)));

        let revoked = passes
            .iter()
            .map(|pass| pass.end.is_cancelled())
            .collect::<Vec<_>>();
        assert_eq!(revoked, [true, false, false, false, false]);
        assert!(!other.end.is_cancelled());
    }

    #[test]
    fn many_addresses_share_a_bounded_room() {
        let doors = Doors::default();

        let passes = (0..=HANDSHAKES)
            .map(|n| doors.enter(address(u8::try_from(n).unwrap_or(0))))
            .collect::<Vec<_>>();

        assert_eq!(passes.iter().filter(|pass| pass.end.is_cancelled()).count(), 1);
        assert!(passes.first().is_some_and(|oldest| oldest.end.is_cancelled()));
    }

    #[test]
    fn a_handshake_that_ended_leaves_nothing() {
        let doors = Doors::default();

        drop((doors.enter(address(2)), doors.enter(address(3))));

        assert!(doors.lock().under_way.is_empty());
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([172, 28, 0, last])
    }
}
