//! Listening TCP sockets from /proc/net/tcp and tcp6, bound UDP sockets from udp and udp6, and their processes from
//! /proc/PID/fd.
//!
//! Read through `thread-self`: `/proc/net` shows the network namespace of the main thread, which
//! is another one for a thread that has moved.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use procfs::net::{TcpNetEntries, TcpState, UdpNetEntries};
use procfs::process::{FDTarget, Process, all_processes};
use procfs::{FromReadSI, ProcError, ProcResult, current_system_info};
use wslnet_protocol::Protocol;

use crate::host::holder::{PortHolder, image_name};

/// A row of the kernel's table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableRow {
    /// Where the socket is bound.
    pub address: SocketAddr,
    inode: u64,
}

/// These sockets, each with every process that has it open, as far as we may look into processes.
pub(in crate::host) fn with_programs(rows: &[TableRow]) -> io::Result<Vec<PortHolder>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut owners: BTreeMap<u64, Vec<(u32, Option<String>)>> =
        rows.iter().map(|row| (row.inode, Vec::new())).collect();
    for process in all_processes().map_err(io::Error::other)?.flatten() {
        // Processes of others, and those that end while we look, tell nothing.
        let Ok(descriptors) = process.fd() else { continue };
        for descriptor in descriptors.flatten() {
            if let FDTarget::Socket(inode) = descriptor.target
                && let Some(owners) = owners.get_mut(&inode)
                && let Ok(pid) = u32::try_from(process.pid)
                && !owners.iter().any(|(known, _)| *known == pid)
            {
                owners.push((pid, image(&process)));
            }
        }
    }
    let mut holders = Vec::new();
    for TableRow { address, inode } in rows.iter().copied() {
        let owners = owners.get(&inode).map_or(&[][..], Vec::as_slice);
        if owners.is_empty() {
            holders.push(PortHolder {
                address,
                pid: None,
                image: None,
            });
        }
        for (pid, image) in owners {
            holders.push(PortHolder {
                address,
                pid: Some(*pid),
                image: image.clone(),
            });
        }
    }
    Ok(holders)
}

/// All TCP listeners, without their processes, which would cost a walk through /proc.
pub(in crate::host) fn listeners() -> io::Result<Vec<PortHolder>> {
    let holder = |row: TableRow| PortHolder {
        address: row.address,
        pid: None,
        image: None,
    };
    Ok(rows(Protocol::Tcp)?.into_iter().map(holder).collect())
}

/// All TCP listeners or all bound UDP sockets.
pub(crate) fn rows(protocol: Protocol) -> io::Result<Vec<TableRow>> {
    let (v4, v6) = match protocol {
        Protocol::Tcp => (
            listening("/proc/thread-self/net/tcp"),
            listening("/proc/thread-self/net/tcp6"),
        ),
        Protocol::Udp => (
            bound("/proc/thread-self/net/udp"),
            bound("/proc/thread-self/net/udp6"),
        ),
    };
    let mut rows = v4.map_err(into_io)?;
    match v6.map_err(into_io) {
        Ok(more) => rows.extend(more),
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(rows)
}

fn listening(file: &str) -> ProcResult<Vec<TableRow>> {
    let TcpNetEntries(entries) = TcpNetEntries::from_file(file, current_system_info())?;
    let listening = entries
        .into_iter()
        .filter(|entry| entry.state == TcpState::Listen);
    Ok(listening
        .map(|entry| TableRow::new(entry.local_address, entry.inode))
        .collect())
}

/// Connected sockets too: a client stands in the way as a server does.
fn bound(file: &str) -> ProcResult<Vec<TableRow>> {
    let UdpNetEntries(entries) = UdpNetEntries::from_file(file, current_system_info())?;
    Ok(entries
        .into_iter()
        .map(|entry| TableRow::new(entry.local_address, entry.inode))
        .collect())
}

impl TableRow {
    fn new(address: SocketAddr, inode: u64) -> Self {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { address, inode }
    }
}

fn into_io(error: ProcError) -> io::Error {
    match error {
        ProcError::NotFound(_) => io::ErrorKind::NotFound.into(),
        ProcError::Io(error, _) => error,
        other @ (ProcError::PermissionDenied(_)
        | ProcError::Incomplete(_)
        | ProcError::Other(_)
        | ProcError::InternalError(_)) => io::Error::other(other),
    }
}

/// The program's file name, which a process cannot choose as freely as its `comm`; that one where the file is hidden.
fn image(process: &Process) -> Option<String> {
    let name = match process.exe() {
        Ok(path) => {
            let name = path.file_name()?.to_string_lossy().into_owned();
            // What the kernel appends when the file was replaced by an update.
            name.strip_suffix(" (deleted)")
                .map_or(name.clone(), str::to_owned)
        }
        Err(_) => process.stat().ok()?.comm,
    };
    Some(image_name(&name))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::rows;
    use crate::host::linux::namespace::{in_namespace, ip};
    use crate::host::owner_of;
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};
    use wslnet_protocol::Protocol::{Tcp, Udp};

    #[test]
    fn the_owner_has_a_pid_and_a_name() {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let own = std::env::current_exe().unwrap();

        let owner = owner_of(Tcp, socket.local_addr().unwrap(), None).unwrap();

        assert_eq!(owner.pid, Some(std::process::id()));
        let name = owner.image.unwrap();
        assert!(
            own.file_name().unwrap().to_str().unwrap().starts_with(&name),
            "{name}"
        );
    }

    #[test]
    fn a_process_can_be_left_out_and_its_companions_remain() {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let own = Some(std::process::id());
        assert_eq!(owner_of(Tcp, address, own), None);

        let shared = OwnedFd::from(socket.try_clone().unwrap());
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(shared))
            .spawn()
            .unwrap();
        let owner = owner_of(Tcp, address, own);
        child.kill().unwrap();
        child.wait().unwrap();

        let owner = owner.unwrap();
        assert_eq!(owner.pid, Some(child.id()));
        // Some systems have one program for all small tools.
        assert!(owner.image.is_some());
    }

    #[test]
    fn a_moved_thread_sees_its_own_namespace() {
        let outside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = outside.local_addr().unwrap();
        in_namespace(move || {
            assert_eq!(owner_of(Tcp, address, None), None);
            assert!(rows(Tcp).unwrap().is_empty());

            ip("link set lo up");
            let _inside = TcpListener::bind("[::]:8000").unwrap();
            let _mapped = TcpListener::bind("[::ffff:127.0.0.1]:8001").unwrap();
            let seen: BTreeSet<SocketAddr> = rows(Tcp).unwrap().into_iter().map(|row| row.address).collect();
            assert_eq!(
                seen,
                BTreeSet::from(["127.0.0.1:8001".parse().unwrap(), "[::]:8000".parse().unwrap()])
            );
        });
    }

    #[test]
    fn udp_sockets_are_seen_in_both_families_and_apart_from_listeners() {
        in_namespace(|| {
            ip("link set lo up");
            let _tcp = TcpListener::bind("127.0.0.1:8000").unwrap();
            let _udp = UdpSocket::bind("127.0.0.1:8001").unwrap();
            let _udp6 = UdpSocket::bind("[::1]:8002").unwrap();
            let _mapped = UdpSocket::bind("[::ffff:127.0.0.1]:8003").unwrap();

            let seen: BTreeSet<SocketAddr> = rows(Udp).unwrap().into_iter().map(|row| row.address).collect();

            let expected = ["127.0.0.1:8001", "[::1]:8002", "127.0.0.1:8003"];
            assert_eq!(
                seen,
                expected
                    .into_iter()
                    .map(|address| address.parse().unwrap())
                    .collect()
            );
        });
    }
}
