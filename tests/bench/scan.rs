//! What one look at the listeners costs, by where it looks and how many connections there are.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use wslnet_daemon::listeners::{Scanner, SourceChoice, UdpInterest};

use crate::e2e::{Machine, World};
use crate::helper::{control::Remote, crowd::Crowd, farm, poller};
use crate::idle;
use crate::options::Options;
use crate::report::{Row, Section, column};
use crate::statistics::median;

const FIRST_PORT: u16 = 9_000;
const LISTENERS: u16 = 50;

const COLUMNS: [&str; 3] = ["scan_0", "scan_1", "scan_2"];

/// How one looks: returns how many listeners it found.
type Look = Box<dyn FnMut() -> anyhow::Result<usize> + Send>;

/// Measures this part.
pub fn measure(options: &Options) -> anyhow::Result<Section> {
    let world = World::new();
    let machine = Machine::new(world.vm.clone(), &world.logs(), "");
    let (_farm, mut remote) = Remote::start(&world, &machine, farm::NAME)?;
    remote.ask(&format!("open {FIRST_PORT} {LISTENERS}"))?;
    let mut crowd = Crowd::default();
    let mut reached = Vec::new();
    let mut rows: BTreeMap<usize, Row> = BTreeMap::new();
    for (level, column) in idle::levels(options).iter().zip(COLUMNS) {
        reached.push(crowd.grow_to(&world, &machine, *level)?.to_string());
        let looks = world.vm.enter(looks)?;
        for (index, (subject, look)) in looks.into_iter().enumerate() {
            let samples = world.vm.enter(|| time(look, options)).context(subject)?;
            let row = rows.entry(index).or_insert_with(|| Row {
                subject: subject.to_owned(),
                topology: "in the VM".to_owned(),
                ..Row::default()
            });
            row.cells.insert(column, median(&samples));
            row.samples.insert(column, samples);
        }
    }
    Ok(Section {
        key: "scan",
        title: "One look at the listeners".to_owned(),
        how: format!(
            "IPv4 and IPv6, median time of one look that finds {LISTENERS} listeners, with {} established connections \
             beside them (both ends in the VM, so twice as many sockets).",
            reached.join(", ")
        ),
        columns: vec![
            column("scan_0", "no connections, µs", 0),
            column("scan_1", "10,000, µs", 0),
            column("scan_2", "100,000, µs", 0),
        ],
        rows: rows.into_values().collect(),
    })
}

fn looks() -> anyhow::Result<[(&'static str, Look); 3]> {
    let mut scanner = Scanner::open(SourceChoice::SockDiag, UdpInterest::default())?;
    let mut all = AllStates::open()?;
    let mut buffer = Vec::new();
    Ok([
        (
            "sock_diag, LISTEN only (wslnetd)",
            Box::new(move || Ok(scanner.scan()?.len())),
        ),
        ("sock_diag, all states", Box::new(move || all.look())),
        (
            "/proc/net/tcp, tcp6",
            Box::new(move || Ok(poller::ports(&mut buffer)?.len())),
        ),
    ])
}

/// Some looks, in microseconds each.
fn time(mut look: Look, options: &Options) -> anyhow::Result<Vec<f64>> {
    let limit = options.time(2_000, 500, 100);
    let start = Instant::now();
    let mut samples = Vec::new();
    while samples.len() < 5 || (start.elapsed() < limit && samples.len() < 200) {
        let begin = Instant::now();
        let found = look()?;
        samples.push(begin.elapsed().as_secs_f64() * 1e6);
        ensure!(
            found == usize::from(LISTENERS),
            "found {found} listeners, not {LISTENERS}"
        );
    }
    Ok(samples)
}

/// A dump of all TCP sockets, of which the listeners are counted: what a program does that does not ask for LISTEN only.
struct AllStates {
    socket: Socket,
    buffer: Vec<u8>,
}

impl AllStates {
    fn open() -> anyhow::Result<Self> {
        // NETLINK_SOCK_DIAG is 4 (linux/netlink.h), AF_NETLINK 16.
        let socket = Socket::new(Domain::from(16), Type::DGRAM, Some(Protocol::from(4)))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self {
            socket,
            buffer: vec![0; 64 << 10],
        })
    }

    fn look(&mut self) -> anyhow::Result<usize> {
        let mut found = 0;
        // AF_INET, AF_INET6.
        for family in [2, 10] {
            self.socket.send(&Self::request(family))?;
            while let Some(more) = self.datagram()? {
                found += more;
            }
        }
        Ok(found)
    }

    /// `struct inet_diag_req_v2` behind a netlink header, as linux/inet_diag.h has them: TCP, all states.
    fn request(family: u8) -> [u8; 72] {
        let mut bytes = [0; 72];
        bytes[0..4].copy_from_slice(&72_u32.to_ne_bytes());
        // SOCK_DIAG_BY_FAMILY; NLM_F_REQUEST | NLM_F_DUMP.
        bytes[4..6].copy_from_slice(&20_u16.to_ne_bytes());
        bytes[6..8].copy_from_slice(&0x301_u16.to_ne_bytes());
        bytes[16] = family;
        bytes[17] = 6;
        bytes[20..24].copy_from_slice(&u32::MAX.to_ne_bytes());
        bytes
    }

    /// The listeners in one datagram of the answer, `None` in the last one.
    fn datagram(&mut self) -> anyhow::Result<Option<usize>> {
        use std::io::Read;
        let length = loop {
            match (&self.socket).read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        let (mut rest, mut found) = (&self.buffer[..length], 0);
        while rest.len() >= 16 {
            let message = u32::from_ne_bytes(rest[0..4].try_into()?) as usize;
            match u16::from_ne_bytes(rest[4..6].try_into()?) {
                2 => bail!("the kernel refuses"),
                3 => return Ok(None),
                // The state follows the family; LISTEN is 10.
                _ => found += usize::from(rest.get(17) == Some(&10)),
            }
            rest = rest.get(message.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(Some(found))
    }
}
