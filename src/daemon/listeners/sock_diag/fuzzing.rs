//! A door for the fuzz targets (`tests/fuzz`) to the parser of the kernel's answers, as it is.

use wslnet_protocol::Protocol;

use super::message::{self, Progress};
use crate::listeners::Socket;

/// What one datagram of a dump says.
#[derive(Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Whether it ends the dump, whole or not.
    pub is_last: bool,
    /// The sockets in it.
    pub sockets: Vec<Socket>,
}

/// Reads a datagram of NETLINK_SOCK_DIAG.
///
/// # Errors
/// What is wrong with it.
pub fn sock_diag(datagram: &[u8], protocol: Protocol, sequence: u32) -> Result<Datagram, String> {
    let mut sockets = Vec::new();
    let read = message::parse(datagram, protocol, sequence, &mut sockets);
    let progress = read.map_err(|error| error.to_string())?;
    Ok(Datagram {
        is_last: progress != Progress::More,
        sockets,
    })
}
