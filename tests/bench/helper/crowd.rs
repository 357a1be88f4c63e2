//! Established connections, both ends in one process: a VM with much traffic.

use std::net::{TcpListener, TcpStream};
use std::path::Path;

use anyhow::ensure;

use super::control::{self, Remote};
use crate::e2e::{Machine, NetNs, Program, World};
use crate::machine;

/// Its name among the helpers.
pub const NAME: &str = "crowd";

/// Obeys until the bench goes: `grow N` makes N connections more, or as many as the machine allows, and tells how many there
/// are.
pub fn run(socket: &Path) -> anyhow::Result<()> {
    let mut held = Vec::new();
    control::obey(socket, |order| match order {
        ["grow", count] => {
            let count: usize = count.parse()?;
            // Gone when the connections are there. One for each order: a client has some 28,000 ports for each of them.
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            for _ in 0..count {
                let both = TcpStream::connect(address).and_then(|one| Ok((one, listener.accept()?.0)));
                match both {
                    Ok(both) => held.push(both),
                    Err(_) => break,
                }
            }
            Ok(vec![held.len() as u64])
        }
        other => anyhow::bail!("what is {other:?}?"),
    })
}

/// Crowds of a network: as many processes as the limit on open files asks for.
#[derive(Debug, Default)]
pub struct Crowd {
    processes: Vec<(Program, Remote)>,
    connections: u64,
}

impl Crowd {
    /// Makes it up to so many connections, or as many as the machine allows. Returns how many there are.
    pub fn grow_to(&mut self, world: &World, machine: &Machine, connections: u64) -> anyhow::Result<u64> {
        // Two for each connection, and some for the process itself.
        let room = (machine::raise_limits() - 200) / 2;
        while self.connections < connections {
            let (program, mut remote) = Remote::start(world, machine, NAME)?;
            let more = room.min(connections - self.connections).min(25_000);
            let made = remote.ask(&format!("grow {more}"))?[0];
            self.connections += made;
            self.processes.push((program, remote));
            if made < more {
                break;
            }
        }
        let seen = established(&machine.net);
        ensure!(
            seen >= 2 * self.connections,
            "the kernel counts {seen} sockets only"
        );
        Ok(self.connections)
    }
}

/// How many TCP sockets the kernel counts in a network.
fn established(net: &NetNs) -> u64 {
    let text = net
        .enter(|| std::fs::read_to_string("/proc/thread-self/net/sockstat").expect("a kernel that counts"));
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: inuse "));
    let count = line.and_then(|rest| rest.split(' ').next()?.parse().ok());
    count.expect("a number")
}
