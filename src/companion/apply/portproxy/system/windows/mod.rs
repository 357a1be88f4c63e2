//! The real registry and the real service.
//!
//! Written against Microsoft's documentation, and run under Wine, whose registry and service control manager are its own.

mod service;

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::super::entry::Entry;
use super::{Removed, Service};
use crate::host::portproxy::{Found, Table};
use crate::host::{self, Access, Key, PORTPROXY, PortHolder, table_key};

/// Where services have their keys.
const SERVICES: &str = r"SYSTEM\CurrentControlSet\Services";
/// Where IPv6 is turned off, by the value `DisabledComponents` (Microsoft, "Guidance for configuring IPv6 in Windows").
const TCPIP6: &str = r"SYSTEM\CurrentControlSet\Services\Tcpip6\Parameters";
/// Its lowest byte where all of IPv6 is off.
const ALL_COMPONENTS: u32 = 0xff;
/// This Windows.
#[derive(Debug)]
pub struct Machine;

pub use crate::host::Stamp;

impl Machine {
    /// This Windows. The directory is of use on Linux only.
    pub fn new(_state_dir: &Path) -> Self {
        Self
    }

    /// Changes when the entries do.
    pub fn stamp(&self) -> Stamp {
        host::portproxy_stamp()
    }

    /// All entries.
    pub fn entries(&self) -> io::Result<Vec<Found>> {
        host::portproxy_entries()
    }

    /// Makes an entry; `AlreadyExists` if there is one at its place. Between the look and the write somebody else could
    /// make one there: the registry knows no "write if absent".
    pub fn add(&self, entry: &Entry) -> io::Result<()> {
        let key = Key::create(&table_key(entry.table))?;
        if key.text(&entry.name)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        key.set_text(&entry.name, &entry.content)
    }

    /// Removes an entry, if it is still what it was when it was made. The key stays, as it does when Windows' own tool
    /// removes the last entry.
    pub fn remove(&self, entry: &Entry) -> io::Result<Removed> {
        let Some(key) = Key::open(&table_key(entry.table), Access::Write)? else {
            return Ok(Removed::Absent);
        };
        match key.text(&entry.name)? {
            None => Ok(Removed::Absent),
            Some(content) if content.as_deref() == Some(&entry.content) => {
                key.remove(&entry.name).map(|()| Removed::Gone)
            }
            Some(_) => Ok(Removed::Foreign),
        }
    }

    /// Puts a table on the disk. Windows does so by itself, but may take its time, and an entry that comes back after a loss of
    /// power must not be forgotten by the journal.
    pub fn flush(&self, table: Table) -> io::Result<()> {
        match Key::open(&table_key(table), Access::Read)? {
            Some(key) => key.flush(),
            None => Ok(()),
        }
    }

    /// Whether this program has the rights: `PermissionDenied` if not. Asks for the nearest key that is there, and for the
    /// right to control the service.
    pub fn may_write(&self) -> io::Result<()> {
        for table in [Table::V4ToV4, Table::V6ToV4] {
            let key = Key::open(&table_key(table), Access::Write)?;
            if key.is_none() && Key::open(PORTPROXY, Access::CreateBelow)?.is_none() {
                Key::open(SERVICES, Access::CreateBelow)?;
            }
        }
        service::may_control()
    }

    /// The service's state.
    pub fn service(&self) -> io::Result<Service> {
        service::query()
    }

    /// Has the service read its entries again.
    pub fn reload(&self) -> io::Result<()> {
        service::tell_of_changed_parameters()
    }

    /// Whether the service listens for an entry of ours, by the table of listeners. Whose listener it is, is not asked: before
    /// the entry was made there was none.
    pub fn is_served(&self, listen: SocketAddr, listeners: &[PortHolder]) -> bool {
        listeners.iter().any(|holder| holder.address == listen)
    }

    /// Whether IPv6 is turned off as a whole, which is said to stop portproxy.
    pub fn is_ipv6_off(&self) -> bool {
        let value = Key::open(TCPIP6, Access::Read)
            .ok()
            .flatten()
            .and_then(|key| key.number("DisabledComponents").ok().flatten());
        value.is_some_and(|value| value & ALL_COMPONENTS == ALL_COMPONENTS)
    }
}
