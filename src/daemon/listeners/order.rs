//! Puts the sockets of a scan in order, at a cost that grows with their number and not faster.
//!
//! The kernel lists sockets as they lie in its hash tables, and every look has to bring them in order before it can tell that nothing
//! changed. Comparing them, that would be most of what a look costs where there are thousands. So they are dealt out by the bytes
//! of one number each (radix sort), and only those that it does not tell apart are compared.

use super::Socket;

/// One byte of a number at a time.
const VALUES: usize = 256;

/// Room for the order, which is kept.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The number of each socket, and where the socket is.
    places: Vec<(u64, usize)>,
    dealt: Vec<(u64, usize)>,
}

impl Order {
    /// Sorts by protocol, address and port, then identity.
    pub(super) fn sort(&mut self, sockets: &mut [Socket]) {
        self.places.clear();
        let numbers = sockets.iter().map(Socket::place_number);
        self.places.extend(numbers.zip(0..));
        let varies = self.varying_bits();
        for shift in (0..u64::BITS).step_by(8) {
            if (varies >> shift) as u8 != 0 {
                self.deal(shift);
            }
        }
        self.arrange(sockets);
        let mut rest = sockets;
        for alike in self.places.chunk_by(|(one, _), (other, _)| one == other) {
            let (here, after) = rest.split_at_mut(alike.len());
            here.sort_unstable_by_key(|socket| socket.place());
            rest = after;
        }
    }

    /// The bits that are not the same in all numbers.
    fn varying_bits(&self) -> u64 {
        let first = self.places.first().map_or(0, |(number, _)| *number);
        let differs = self.places.iter().map(|(number, _)| number ^ first);
        differs.fold(0, |bits, more| bits | more)
    }

    /// Sorts by one byte of the numbers, and leaves those in their order in which it is the same.
    fn deal(&mut self, shift: u32) {
        let value = |number: u64| usize::from((number >> shift) as u8);
        let mut counts = [0_usize; VALUES];
        for (number, _) in &self.places {
            counts[value(*number)] += 1;
        }
        let mut next = 0;
        let mut begins = counts.map(|count| {
            next += count;
            next - count
        });
        self.dealt.clone_from(&self.places);
        for place in &self.places {
            let begin = &mut begins[value(place.0)];
            self.dealt[*begin] = *place;
            *begin += 1;
        }
        std::mem::swap(&mut self.places, &mut self.dealt);
    }

    /// Moves each socket to its place: the one that was found to be in front to the front, and so on.
    fn arrange(&mut self, sockets: &mut [Socket]) {
        for first in 0..sockets.len() {
            let mut here = first;
            loop {
                let from = std::mem::replace(&mut self.places[here].1, here);
                if from == first || from == here {
                    break;
                }
                sockets.swap(here, from);
                here = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    use proptest::prelude::*;
    use wslnet_protocol::Protocol;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_order_of_places(sockets in proptest::collection::vec(socket(), 0..200)) {
            let mut expected = sockets.clone();
            expected.sort_by_key(|socket| socket.place());
            let mut order = Order::default();

            for _ in 0..2 {
                let mut sorted = sockets.clone();
                order.sort(&mut sorted);
                prop_assert_eq!(&sorted, &expected);
            }
        }
    }

    fn socket() -> impl Strategy<Value = Socket> {
        let address = prop_oneof![
            Just(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            Just(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            Just(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
            any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into()),
        ];
        let port = prop_oneof![any::<u16>(), 80..82_u16];
        (address, port, 0..9_u64, any::<bool>()).prop_map(|(address, port, cookie, is_udp)| Socket {
            protocol: if is_udp { Protocol::Udp } else { Protocol::Tcp },
            address: SocketAddr::new(address, port),
            v6only: None,
            uid: 0,
            inode: 1,
            cookie: Some(cookie),
            interface: None,
        })
    }
}
