//! The tables of TCP listeners and UDP sockets with their owners, and the programs behind the owners' ids.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, GetExtendedUdpTable, MIB_TCP6ROW_OWNER_PID, MIB_TCPROW_OWNER_PID,
    MIB_UDP6ROW_OWNER_PID, MIB_UDPROW_OWNER_PID, TCP_TABLE_OWNER_PID_LISTENER, UDP_TABLE_OWNER_PID,
};
use windows_sys::Win32::Networking::WinSock::{ADDRESS_FAMILY, AF_INET, AF_INET6};
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
};
use wslnet_protocol::Protocol;

use crate::host::holder::{PortHolder, image_name};

/// The first guess at a table's size in bytes, and how often it is enlarged: sockets come while we ask.
const FIRST_SIZE: usize = 4 << 10;
const ATTEMPTS: usize = 8;

/// The kernel, which listens for HTTP.sys and SMB and cannot be opened.
const SYSTEM_PID: u32 = 4;

/// The longest path that Windows knows, in UTF-16 units.
const PATH_LIMIT: usize = 32_768;

/// A row of one of the tables, without the name of its program.
pub(crate) type TableRow = PortHolder;

/// These sockets with their programs.
#[expect(clippy::unnecessary_wraps, reason = "on Linux /proc is walked through")]
pub(in crate::host) fn with_programs(rows: &[TableRow]) -> io::Result<Vec<PortHolder>> {
    Ok(named(rows.to_vec()))
}

/// All TCP listeners, without the names of their programs.
pub(in crate::host) fn listeners() -> io::Result<Vec<PortHolder>> {
    rows(Protocol::Tcp)
}

fn named(mut holders: Vec<PortHolder>) -> Vec<PortHolder> {
    let mut images = BTreeMap::new();
    for holder in &mut holders {
        if let Some(pid) = holder.pid {
            holder.image = images.entry(pid).or_insert_with(|| image(pid)).clone();
        }
    }
    holders
}

/// All TCP listeners or all UDP sockets, without the names of their programs: each name costs an opened process.
pub(crate) fn rows(protocol: Protocol) -> io::Result<Vec<PortHolder>> {
    let (v4, v6) = (table(protocol, AF_INET)?, table(protocol, AF_INET6)?);
    Ok(match protocol {
        Protocol::Tcp => {
            let v4 = v4.rows::<MIB_TCPROW_OWNER_PID>().map(from_v4);
            v4.chain(v6.rows::<MIB_TCP6ROW_OWNER_PID>().map(from_v6))
                .collect()
        }
        Protocol::Udp => {
            let v4 = v4.rows::<MIB_UDPROW_OWNER_PID>().map(from_udp_v4);
            v4.chain(v6.rows::<MIB_UDP6ROW_OWNER_PID>().map(from_udp_v6))
                .collect()
        }
    })
}

fn from_v4(row: MIB_TCPROW_OWNER_PID) -> PortHolder {
    holder(v4(row.dwLocalAddr), row.dwLocalPort, row.dwOwningPid)
}

fn from_v6(row: MIB_TCP6ROW_OWNER_PID) -> PortHolder {
    holder(row.ucLocalAddr.into(), row.dwLocalPort, row.dwOwningPid)
}

fn from_udp_v4(row: MIB_UDPROW_OWNER_PID) -> PortHolder {
    holder(v4(row.dwLocalAddr), row.dwLocalPort, row.dwOwningPid)
}

fn from_udp_v6(row: MIB_UDP6ROW_OWNER_PID) -> PortHolder {
    holder(row.ucLocalAddr.into(), row.dwLocalPort, row.dwOwningPid)
}

/// Addresses stand in network order.
fn v4(address: u32) -> IpAddr {
    Ipv4Addr::from(address.to_ne_bytes()).into()
}

/// Ports stand in network order, in the lower half.
fn holder(ip: IpAddr, port: u32, pid: u32) -> PortHolder {
    let port = u16::from_be((port & 0xffff) as u16);
    PortHolder {
        address: SocketAddr::new(ip.to_canonical(), port),
        pid: (pid != 0).then_some(pid),
        image: None,
    }
}

/// A table as the system wrote it: a count, then as many rows.
struct Table(Vec<u32>);

fn table(protocol: Protocol, family: ADDRESS_FAMILY) -> io::Result<Table> {
    let mut buffer: Vec<u32> = vec![0; FIRST_SIZE / size_of::<u32>()];
    for _ in 0..ATTEMPTS {
        let mut size = u32::try_from(buffer.len() * size_of::<u32>()).map_err(io::Error::other)?;
        let (to, family) = (buffer.as_mut_ptr().cast(), u32::from(family));
        // SAFETY: the buffer is writable for `size` bytes and aligned for the table, whose fields are u32 and bytes.
        let result = unsafe {
            match protocol {
                Protocol::Tcp => {
                    GetExtendedTcpTable(to, &raw mut size, 0, family, TCP_TABLE_OWNER_PID_LISTENER, 0)
                }
                Protocol::Udp => GetExtendedUdpTable(to, &raw mut size, 0, family, UDP_TABLE_OWNER_PID, 0),
            }
        };
        match result {
            NO_ERROR => return Ok(Table(buffer)),
            // Half as much again, for those that come meanwhile.
            ERROR_INSUFFICIENT_BUFFER => {
                buffer.resize((size as usize + size as usize / 2).div_ceil(size_of::<u32>()), 0)
            }
            error => return Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
    Err(io::Error::other(
        "the table of sockets grows faster than it can be read",
    ))
}

/// The rows that a table of owners may have.
///
/// # Safety
/// Only for plain C structures of u32 and byte fields, for which every bit pattern is a value.
unsafe trait Row: Copy {}
// SAFETY: six u32.
unsafe impl Row for MIB_TCPROW_OWNER_PID {}
// SAFETY: u32 and byte arrays, without padding.
unsafe impl Row for MIB_TCP6ROW_OWNER_PID {}
// SAFETY: three u32.
unsafe impl Row for MIB_UDPROW_OWNER_PID {}
// SAFETY: a byte array and three u32, without padding.
unsafe impl Row for MIB_UDP6ROW_OWNER_PID {}

impl Table {
    /// The rows, and never more than the buffer holds.
    fn rows<R: Row>(&self) -> impl Iterator<Item = R> + '_ {
        let (count, rest) = self
            .0
            .split_first()
            .map_or((0, &[][..]), |(count, rest)| (*count as usize, rest));
        rest.chunks_exact(size_of::<R>() / size_of::<u32>())
            .take(count)
            .map(|row| {
                // SAFETY: the chunk is as large as R, and every content is a valid R.
                unsafe { row.as_ptr().cast::<R>().read_unaligned() }
            })
    }
}

/// The file name of a process' program. `None` when it has ended or we may not ask.
fn image(pid: u32) -> Option<String> {
    if pid == SYSTEM_PID {
        return Some("System".to_owned());
    }
    // SAFETY: no pointers; a handle that is not null is ours to close.
    let process = unsafe {
        let handle = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid);
        (!handle.is_null()).then(|| OwnedHandle::from_raw_handle(handle))
    }?;
    let mut path = vec![0; PATH_LIMIT];
    let mut length = PATH_LIMIT as u32;
    // SAFETY: the handle is open, and `path` is writable for `length` units; the call sets `length` to what it wrote.
    let done = unsafe {
        QueryFullProcessImageNameW(
            process.as_raw_handle(),
            PROCESS_NAME_WIN32,
            path.as_mut_ptr(),
            &raw mut length,
        )
    };
    let path = path.get(..length as usize).filter(|_| done != 0)?;
    let path = String::from_utf16_lossy(path);
    path.rsplit('\\').next().map(image_name)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use crate::host::windows::wine::assert_owner;
    use std::collections::BTreeSet;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn ports_and_addresses_are_turned_from_network_order() {
        let row = MIB_TCPROW_OWNER_PID {
            dwLocalAddr: u32::from_ne_bytes([192, 0, 2, 1]),
            dwLocalPort: 0xdead_0000 | u32::from(8000_u16.to_be()),
            dwOwningPid: 77,
            ..Default::default()
        };

        let holder = from_v4(row);

        assert_eq!(holder.address, "192.0.2.1:8000".parse().unwrap());
        assert_eq!(holder.pid, Some(77));
        assert_eq!(from_v4(MIB_TCPROW_OWNER_PID::default()).pid, None);
    }

    #[test]
    fn a_table_that_promises_more_than_it_holds_is_cut() {
        let mut words = vec![9_u32];
        words.extend([0; 2 * 6 + 3]);

        assert_eq!(Table(words).rows::<MIB_TCPROW_OWNER_PID>().count(), 2);
        assert_eq!(
            Table(vec![0, 1, 2, 3, 4, 5, 6])
                .rows::<MIB_TCPROW_OWNER_PID>()
                .count(),
            0
        );
        assert_eq!(Table(Vec::new()).rows::<MIB_TCP6ROW_OWNER_PID>().count(), 0);
    }

    #[test]
    fn a_table_larger_than_the_first_guess_arrives_whole() {
        let sockets: Vec<_> = (0..200)
            .map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap())
            .collect();
        assert!(sockets.len() * size_of::<MIB_TCPROW_OWNER_PID>() > FIRST_SIZE);

        let seen: BTreeSet<SocketAddr> = rows(Protocol::Tcp)
            .unwrap()
            .into_iter()
            .map(|l| l.address)
            .collect();

        assert!(sockets.iter().all(|s| seen.contains(&s.local_addr().unwrap())));
    }

    #[test]
    fn both_families_are_asked() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = TcpListener::bind(address).unwrap();
            let address = socket.local_addr().unwrap();

            let udp = UdpSocket::bind(address).unwrap();

            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let held = rows(protocol).unwrap();
                let owner = held.iter().find(|h| h.address == address).unwrap();
                assert_owner(owner.pid, std::process::id());
            }

            drop(udp);
            let held = rows(Protocol::Udp).unwrap();
            assert!(held.iter().all(|h| h.address != address), "{held:?}");
        }
    }

    #[test]
    fn a_process_has_the_name_of_its_program() {
        let own = std::env::current_exe().unwrap();
        let own = own.file_name().unwrap().to_str().unwrap();

        assert_eq!(image(std::process::id()).as_deref(), Some(own));

        let held = PortHolder {
            address: "[::]:1".parse().unwrap(),
            pid: Some(std::process::id()),
            image: None,
        };
        assert_eq!(named(vec![held])[0].image.as_deref(), Some(own));
    }

    #[test]
    fn a_process_that_is_not_there_has_no_name() {
        assert_eq!(image(0xffff_fff0), None);
        assert_eq!(image(SYSTEM_PID).as_deref(), Some("System"));
    }
}
