//! Doors for the fuzz targets (`tests/fuzz`) to the parsers of this room, as they are.

use std::io;
use std::ops::RangeInclusive;

pub use super::sock_diag::fuzzing::sock_diag;
use super::{Socket, procfs, udp};

/// Reads `tcp` or `tcp6` of `/proc/PID/net`.
///
/// # Errors
/// When it makes no sense.
pub fn net_tcp(file: &[u8]) -> io::Result<Vec<Socket>> {
    procfs::tcp(file)
}

/// Reads `udp` or `udp6` of `/proc/PID/net`.
///
/// # Errors
/// When it makes no sense.
pub fn net_udp(file: &[u8]) -> io::Result<Vec<Socket>> {
    procfs::udp(file)
}

/// Reads `/proc/sys/net/ipv4/ip_local_port_range`.
pub fn client_ports(file: &str) -> Option<RangeInclusive<u16>> {
    udp::parse_range(file)
}
