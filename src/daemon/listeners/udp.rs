//! Which UDP sockets count as listeners, and how often they are looked for.
//!
//! To the kernel a server and a client that has sent without connecting look the same: bound, without a peer. Only their
//! ports differ. So they are told apart by the port alone, before anything else is asked about them: a resolver opens a
//! socket for each question, and to look for the owner of each would cost a walk through /proc.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use std::{fs, io};

use wslnet_protocol::Protocol;

use super::{Reader, Socket};

/// From where the kernel gives clients their ports, IPv6 too. It belongs to the network namespace of whoever reads it.
const CLIENT_PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// How much longer the rest after a look is than the look: looks take at most this part of the time.
const SHARE: u32 = 100;
/// The longest rest, whatever a look costs. A socket is found within a second.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Which UDP sockets count as listeners. Nobody can tell a UDP server from a client by looking, so only those are looked
/// for that a rule could share. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpInterest {
    /// Those on these ports.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Also those on every port outside of the range from which the kernel gives clients their ports
    /// (`net.ipv4.ip_local_port_range`).
    pub servers: bool,
}

impl UdpInterest {
    /// Whether no socket counts, whatever its port.
    pub fn is_none(&self) -> bool {
        self.ports.is_empty() && !self.servers
    }

    /// Whether a socket on this port counts, where the kernel gives these ports to clients. Port 0 is none.
    fn covers(&self, port: u16, client_ports: &RangeInclusive<u16>) -> bool {
        let named = self.ports.iter().any(|ports| ports.contains(&port));
        port != 0 && (named || self.servers && !client_ports.contains(&port))
    }
}

/// Looks for the UDP sockets of interest.
///
/// No event tells of a new UDP socket, so they have to be polled for. A look costs 57 us where there are few sockets
/// (two orders of magnitude less than the pause between two scans), so that every scan can afford one and a UDP service
/// is as quick to appear as any other. What a look costs grows with the sockets, though, and there may be ten thousand
/// of a busy resolver: so the next one waits until looks take no more than a hundredth of the time, but no longer than
/// a second. In between, what was seen last holds.
#[derive(Debug)]
pub(super) struct Udp {
    reader: Reader,
    interest: UdpInterest,
    seen: Vec<Socket>,
    /// Where the next look puts them.
    next_seen: Vec<Socket>,
    /// When to look again; `None` before the first look.
    next: Option<Instant>,
    /// Whether it was said that the range of client ports is unknown.
    warned: bool,
}

impl Udp {
    /// Looks by this reader.
    pub(super) fn new(reader: Reader, interest: UdpInterest) -> Self {
        Self {
            reader,
            interest,
            seen: Vec::new(),
            next_seen: Vec::new(),
            next: None,
            warned: false,
        }
    }

    /// The sockets of interest.
    ///
    /// # Errors
    /// When the kernel did not give a complete answer.
    pub(super) fn listeners(&mut self) -> io::Result<&[Socket]> {
        let start = Instant::now();
        if self.next.is_none_or(|next| start >= next) {
            let client_ports = self.client_ports();
            self.next_seen.clear();
            self.reader.listeners(Protocol::Udp, &mut self.next_seen)?;
            self.next_seen
                .retain(|socket| self.interest.covers(socket.address.port(), &client_ports));
            std::mem::swap(&mut self.seen, &mut self.next_seen);
            let end = Instant::now();
            self.next = Some(end + rest(end.saturating_duration_since(start)));
        }
        Ok(&self.seen)
    }

    /// Where that is unknown every port may be a client's, and only those that are named count.
    fn client_ports(&mut self) -> RangeInclusive<u16> {
        if !self.interest.servers {
            return 0..=u16::MAX;
        }
        client_ports().unwrap_or_else(|error| {
            if !self.warned {
                self.warned = true;
                tracing::warn!(
                    %error,
                    file = CLIENT_PORTS,
                    "cannot tell UDP servers from clients; only the UDP ports that rules name are seen"
                );
            }
            0..=u16::MAX
        })
    }
}

/// How long to rest after a look that took this long.
fn rest(took: Duration) -> Duration {
    took.saturating_mul(SHARE).min(LONGEST_REST)
}

/// Read at every look: it costs little, and whoever changes it wants it to count.
fn client_ports() -> io::Result<RangeInclusive<u16>> {
    let text = fs::read_to_string(CLIENT_PORTS)?;
    parse_range(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Two numbers with white space around them.
pub(super) fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next()?, numbers.next()?, numbers.next()) {
        (Ok(first), Ok(last), None) => Some(first..=last),
        (_, _, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENTS: RangeInclusive<u16> = 32768..=60999;

    #[test]
    fn nothing_is_of_interest_unless_somebody_says_so() {
        let none = UdpInterest::default();

        assert!(none.is_none());
        assert!((0..=u16::MAX).all(|port| !none.covers(port, &CLIENTS)));
    }

    #[test]
    fn named_ports_count_wherever_they_lie_and_servers_outside_of_the_range_of_clients() {
        let named = UdpInterest {
            ports: vec![53..=53, 40000..=40001],
            servers: false,
        };
        let servers = UdpInterest {
            ports: vec![40000..=40001],
            servers: true,
        };
        let covered = |interest: &UdpInterest| {
            let ports = [53, 54, 32767, 32768, 40000, 40001, 40002, 60999, 61000, u16::MAX];
            ports
                .into_iter()
                .filter(|port| interest.covers(*port, &CLIENTS))
                .collect::<Vec<_>>()
        };

        assert_eq!(covered(&named), [53, 40000, 40001]);
        assert_eq!(covered(&servers), [53, 54, 32767, 40000, 40001, 61000, u16::MAX]);
        assert!(!named.is_none() && !servers.is_none());
    }

    #[test]
    fn port_zero_is_never_of_interest() {
        let all = UdpInterest {
            ports: vec![0..=u16::MAX],
            servers: true,
        };

        assert!(!all.covers(0, &CLIENTS) && all.covers(1, &CLIENTS));
    }

    #[test]
    fn looks_take_a_hundredth_of_the_time_and_come_at_least_once_a_second() {
        assert_eq!(rest(Duration::from_micros(57)), Duration::from_micros(5700));
        assert_eq!(rest(Duration::from_millis(9)), Duration::from_millis(900));
        assert_eq!(rest(Duration::from_millis(200)), LONGEST_REST);
        assert_eq!(rest(Duration::MAX), LONGEST_REST);
    }

    #[test]
    fn the_range_of_client_ports_is_two_numbers() {
        assert_eq!(parse_range("32768\t60999\n"), Some(32768..=60999));
        for odd in ["", "32768", "32768 60999 1", "32768 70000", "a b", "-1 5"] {
            assert_eq!(parse_range(odd), None, "{odd}");
        }
    }
}
