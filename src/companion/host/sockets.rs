//! Who holds which port, as one look at the machine's tables of sockets shows it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use wslnet_protocol::Protocol;

use super::platform::{TableRow, rows, with_programs};
use super::{PortHolder, holder_of};

/// Reads the table of a protocol's sockets.
type Read = fn(Protocol) -> io::Result<Vec<TableRow>>;

/// The machine's sockets at the moment at which somebody first asked for one of their protocol. The system gives out a table of
/// all of them even to who wants to know of one port: so one look answers for all ports of a round.
#[derive(Debug)]
pub struct Sockets {
    read: Read,
    tables: BTreeMap<Protocol, BTreeMap<u16, Vec<TableRow>>>,
}

impl Default for Sockets {
    /// Those of this machine, which is not looked at yet.
    fn default() -> Self {
        Self::read_by(rows)
    }
}

impl Sockets {
    /// Those that a reader tells of.
    pub(crate) fn read_by(read: Read) -> Self {
        Self {
            read,
            tables: BTreeMap::new(),
        }
    }

    /// See [`owner_of`].
    pub fn owner_of(
        &mut self,
        protocol: Protocol,
        address: SocketAddr,
        except: Option<u32>,
    ) -> Option<PortHolder> {
        let read = self.read;
        let table = self
            .tables
            .entry(protocol)
            .or_insert_with(|| by_port(protocol, read));
        let rows = table.get(&address.port())?;
        let mut holders = with_programs(rows)
            .inspect_err(
                |error| tracing::debug!(%address, %error, "the holders of sockets cannot be looked for"),
            )
            .ok()?;
        holders.retain(|holder| except.is_none() || holder.pid != except);
        holders.sort();
        holder_of(&holders, address).cloned()
    }
}

/// Who already has this address and port, or a wildcard that covers it: for the report of a conflict. Over TCP that is who
/// listens, over UDP who is bound at all, be it a client.
///
/// `except` leaves out one process, usually `Some(std::process::id())`. The answer is a snapshot and best effort:
/// `None` means that nobody was seen, not that a bind will succeed. On Linux this walks /proc, so call it
/// when a bind has failed rather than before each one.
pub fn owner_of(protocol: Protocol, address: SocketAddr, except: Option<u32>) -> Option<PortHolder> {
    Sockets::default().owner_of(protocol, address, except)
}

/// A table, by port; an empty one if the system does not give it out.
fn by_port(protocol: Protocol, read: Read) -> BTreeMap<u16, Vec<TableRow>> {
    let rows = read(protocol).unwrap_or_else(|error| {
        tracing::debug!(%protocol, %error, "the table of sockets cannot be read");
        Vec::new()
    });
    let mut table: BTreeMap<u16, Vec<TableRow>> = BTreeMap::new();
    for row in rows {
        table.entry(row.address.port()).or_default().push(row);
    }
    table
}
