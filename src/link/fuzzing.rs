//! A door for the fuzz targets (`tests/fuzz`) to the parser of the list of trusted keys, as it is.

use std::path::Path;

use crate::{Peers, StoreError};

/// Reads a list of trusted keys.
///
/// # Errors
/// What is wrong with it.
pub fn peers(content: &[u8]) -> Result<Peers, StoreError> {
    Peers::parse(content, Path::new("trusted.toml"))
}

/// The list as the program writes it.
///
/// # Errors
/// When it cannot be written as TOML.
pub fn text(peers: &Peers) -> Result<String, StoreError> {
    peers.text()
}
