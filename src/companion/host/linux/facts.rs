//! What only Windows has: the answers here are "none", or what stands for it.

use std::io;

use crate::host::PortHolder;
use crate::host::excluded::List;
use crate::host::portproxy::Found;

/// None: `net.ipv4.ip_local_reserved_ports` keeps ports from clients only.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the Windows side asks a program, which can fail"
)]
pub(in crate::host) fn print_excluded_ranges(_list: List) -> io::Result<Vec<u8>> {
    Ok(Vec::new())
}

/// None.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the Windows side reads the registry, which can fail"
)]
pub(in crate::host) fn portproxy_entries() -> io::Result<Vec<Found>> {
    Ok(Vec::new())
}

/// None: a unit of systemd has processes of its own, whose names say enough.
pub(in crate::host) fn services_of(_pid: u32) -> Vec<String> {
    Vec::new()
}

/// Where one network namespace stands for Windows and its VM, as Windows' ports and the VM's are the same in mirrored mode: the processes
/// of the VM are in another PID namespace, and so are not seen.
pub(in crate::host) fn is_of_wsl(holder: &PortHolder) -> bool {
    holder.pid.is_none()
}
