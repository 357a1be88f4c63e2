//! Doors for the fuzz targets (`tests/fuzz`) to what reads the registry and the journal, as it is.

use std::net::SocketAddr;

use super::entry::Entry;
use super::journal;
use crate::host::portproxy::{Found, Table};

/// Whether an entry of this name takes connections at this address, for each table; and the entry as people see it.
pub fn found(name: &str, content: &str, address: SocketAddr) -> [(bool, String); 4] {
    Table::ALL.map(|table| {
        let found = Found {
            table,
            name: name.to_owned(),
            content: Some(content.to_owned()),
        };
        (found.takes(address), found.describe())
    })
}

/// The name and the content of the entry that takes connections from one address to another.
pub fn written(listen: SocketAddr, connect: SocketAddr) -> (String, String) {
    let entry = Entry::new(listen, connect);
    (entry.name, entry.content)
}

/// Reads a journal: where its entries listen, and what they connect to.
///
/// # Errors
/// When it is none.
pub fn journal(content: &[u8]) -> Result<Vec<(SocketAddr, SocketAddr)>, String> {
    let ours = journal::parse(content).map_err(|error| error.to_string())?;
    Ok(ours
        .into_iter()
        .map(|(listen, mine)| (listen, mine.connect))
        .collect())
}
