//! The ranges of ports that the system keeps from every program, though nobody listens there. Hyper-V and WinNAT reserve blocks
//! of a hundred, others at each boot, and a bind in one of them fails with 10013 without a word of why.
//!
//! No documented call gives out the list: `LookupPersistentTcpPortReservation` answers for one known reservation, the registry
//! (`Control\Nsi`) has the lasting ones only, and the interface from which `netsh` itself takes it (NSI) is not for others. So `netsh`
//! is asked, by its full path and with fixed words, and what it prints is read without regard to the language of Windows.
//! That takes a process and up to a second, so it is done only after a bind was refused, by a thread of its own, and
//! what was found counts for a while.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use wslnet_protocol::Protocol;

use super::{Awake, awake, platform};

/// How long a list counts: starting Docker or a virtual machine makes another one.
const FRESH: Duration = Duration::from_secs(30);
/// The most ranges that are kept; there are at most 65,535, and usually a dozen.
const MOST: usize = 4096;

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExcludedRange {
    first: u16,
    last: u16,
    /// Whether an administrator made it: then it only keeps the system from giving these ports to clients, and programs that name
    /// one may have it.
    administered: bool,
}

impl ExcludedRange {
    /// Whether the range is why this port cannot be had.
    fn forbids(self, port: u16) -> bool {
        !self.administered && (self.first..=self.last).contains(&port)
    }
}

impl fmt::Display for ExcludedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Which of the system's lists: each protocol has one for each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct List {
    /// The protocol.
    pub protocol: Protocol,
    /// Whether it is the one for IPv6.
    pub is_v6: bool,
}

/// What is known of a list.
#[derive(Debug)]
enum Known {
    /// A thread is asking.
    Asking,
    /// What it was at that time.
    Read(Awake, Vec<ExcludedRange>),
}

/// The lists, as far as somebody wanted to know.
#[derive(Clone, Debug, Default)]
pub(super) struct ExcludedRanges(Arc<Mutex<BTreeMap<List, Known>>>);

/// What the lists say of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exclusion {
    /// It is being asked for: ask again a moment later.
    Asking,
    /// It is in none of them.
    None,
    /// It is in this one.
    In(ExcludedRange),
}

impl ExcludedRanges {
    /// In which range the port lies. Never waits.
    pub(super) fn of(&self, protocol: Protocol, address: SocketAddr, now: Awake) -> Exclusion {
        let list = List {
            protocol,
            is_v6: address.is_ipv6(),
        };
        let mut lists = self.lock();
        match lists.get(&list) {
            Some(Known::Asking) => Exclusion::Asking,
            Some(Known::Read(at, ranges)) if now.saturating_since(*at) < FRESH => {
                let range = ranges.iter().find(|range| range.forbids(address.port()));
                range.map_or(Exclusion::None, |range| Exclusion::In(*range))
            }
            Some(Known::Read(..)) | None => {
                lists.insert(list, Known::Asking);
                drop(lists);
                self.ask(list);
                Exclusion::Asking
            }
        }
    }

    fn ask(&self, list: List) {
        let lists = self.clone();
        let asking = move || {
            let printed = platform::print_excluded_ranges(list).unwrap_or_else(|error| {
                tracing::debug!(?list, %error, "the excluded port ranges cannot be read");
                Vec::new()
            });
            lists.lock().insert(list, Known::Read(awake(), parse(&printed)));
        };
        if let Err(error) = thread::Builder::new()
            .name("excluded-ports".to_owned())
            .spawn(asking)
        {
            tracing::debug!(%error, "no thread to read the excluded port ranges");
            self.lock().insert(list, Known::Read(awake(), Vec::new()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<List, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what `netsh interface ipv4 show excludedportrange` prints. Its headings are in the language of Windows and its code page; the
/// rows are two numbers, with a star behind them where an administrator made the range.
pub(super) fn parse(output: &[u8]) -> Vec<ExcludedRange> {
    let lines = output.split(|byte| *byte == b'\n' || *byte == b'\r');
    lines.filter_map(row).take(MOST).collect()
}

fn row(line: &[u8]) -> Option<ExcludedRange> {
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let (first, last) = (port(words.next()?)?, port(words.next()?)?);
    let administered = match (words.next(), words.next()) {
        (None, _) => false,
        (Some(b"*"), None) => true,
        (Some(_), _) => return None,
    };
    (first <= last).then_some(ExcludedRange {
        first,
        last,
        administered,
    })
}

fn port(word: &[u8]) -> Option<u16> {
    let digits = word.iter().all(u8::is_ascii_digit).then_some(word)?;
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use proptest::prelude::*;
    use std::time::Instant;

    use super::*;

    const ENGLISH: &str = "\r\nProtocol tcp Port Exclusion Ranges\r\n\r\nStart Port    End Port      \r\n\
        ----------    --------      \r\n      5357        5357      \r\n     50000       50059     *\r\n     \
        51940       52039      \r\n\r\n* - Administered port exclusions.\r\n\r\n";

    #[test]
    fn ranges_are_read_whatever_the_language() {
        let expected = vec![
            range(5357, 5357, false),
            range(50000, 50059, true),
            range(51940, 52039, false),
        ];
        assert_eq!(parse(ENGLISH.as_bytes()), expected);

        // As cmd of a Spanish and of a Chinese Windows prints it: code pages 850 and 936.
        let spanish = b"Intervalos de exclusi\xa2n de puertos\r\nPuerto de inicio    Puerto final\r\n----------    --------\r\n  1025        1124\r\n* - Exclusiones administradas.\r\n";
        assert_eq!(parse(spanish), [range(1025, 1124, false)]);
        let chinese = b"\xd0\xad\xd2\xe9 tcp \xb6\xcb\xbf\xda\xc5\xc5\xb3\xfd\r\n      80          80 \r\n";
        assert_eq!(parse(chinese), [range(80, 80, false)]);
    }

    #[test]
    fn what_is_no_range_is_passed_over() {
        for line in [
            "",
            "1",
            "1 2 3",
            "2 1",
            "1 65536",
            "-1 2",
            "+1 2",
            "1 2 * *",
            "a 1 2",
            "1 2 x",
            "99999999999 1",
        ] {
            assert_eq!(parse(line.as_bytes()), [], "{line}");
        }
        assert_eq!(parse("1 2\n".repeat(10_000).as_bytes()).len(), MOST);
    }

    #[test]
    fn what_an_administrator_set_aside_may_be_had_by_name() {
        assert!(range(1000, 1099, false).forbids(1099) && !range(1000, 1099, false).forbids(1100));
        assert!(!range(1000, 1099, true).forbids(1050));
    }

    #[test]
    fn a_list_is_asked_for_once_and_then_known_for_a_while() {
        let ranges = ExcludedRanges::default();
        let (tcp, start) = (address("192.0.2.1:8000"), awake());

        assert_eq!(ranges.of(Protocol::Tcp, tcp, start), Exclusion::Asking);
        let deadline = Instant::now() + Duration::from_secs(20);
        while ranges.of(Protocol::Tcp, tcp, start) == Exclusion::Asking {
            assert!(Instant::now() < deadline, "no answer in time");
            thread::yield_now();
        }

        let list = List {
            protocol: Protocol::Tcp,
            is_v6: false,
        };
        let known = Known::Read(start, vec![range(8000, 8099, false)]);
        ranges.lock().insert(list, known);
        assert_eq!(
            ranges.of(Protocol::Tcp, tcp, start),
            Exclusion::In(range(8000, 8099, false))
        );
        assert_eq!(
            ranges.of(Protocol::Tcp, address("192.0.2.1:8100"), start),
            Exclusion::None
        );
        let later = start.checked_add(FRESH).unwrap();
        assert_eq!(ranges.of(Protocol::Tcp, tcp, later), Exclusion::Asking);
        assert_eq!(
            ranges.of(Protocol::Udp, tcp, start),
            Exclusion::Asking,
            "a list of its own"
        );
        assert_eq!(
            ranges.of(Protocol::Tcp, address("[2001:db8::1]:8000"), start),
            Exclusion::Asking
        );
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_read_without_a_panic(output in prop::collection::vec(any::<u8>(), 0..400)) {
            for range in parse(&output) {
                prop_assert!(range.first <= range.last);
            }
        }
    }

    fn range(first: u16, last: u16, administered: bool) -> ExcludedRange {
        ExcludedRange {
            first,
            last,
            administered,
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }
}
