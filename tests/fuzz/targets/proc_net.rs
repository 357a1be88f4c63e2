//! `tcp`, `tcp6`, `udp` and `udp6` of `/proc/PID/net`, and the range of the ports of clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wslnet_daemon::listeners::Socket;
use wslnet_daemon::listeners::fuzzing::{client_ports, net_tcp, net_udp};

/// The state of a TCP listener, as the kernel writes it.
const LISTEN: &str = "0A";
/// The state of a UDP socket without a peer.
const CLOSE: u8 = 7;

pub(super) fn target(file: &[u8]) {
    // The library reads +7 as 7.
    if file.contains(&b'+') {
        return;
    }
    if let Ok(sockets) = net_tcp(file) {
        // The file has the listeners first.
        let rows = rows(file).into_iter();
        let listening = rows.take_while(|row| row.column(3) == LISTEN);
        assert_eq!(
            facts(&sockets),
            listening.filter_map(|row| row.socket()).collect::<Vec<_>>()
        );
    }
    if let Ok(sockets) = net_udp(file) {
        let rows = rows(file).into_iter();
        let closed = rows.filter(|row| u8::from_str_radix(row.column(3), 16) == Ok(CLOSE));
        let unconnected = closed.filter(|row| row.address(2).is_some_and(|peer| peer.port() == 0));
        assert_eq!(
            facts(&sockets),
            unconnected.filter_map(|row| row.socket()).collect::<Vec<_>>()
        );
    }
    if let Ok(text) = str::from_utf8(file)
        && let Some(range) = client_ports(text)
    {
        assert_eq!(
            client_ports(&format!("{}\t{}\n", range.start(), range.end())),
            Some(range)
        );
    }
}

type Facts = (SocketAddr, u32, u64);

fn facts(sockets: &[Socket]) -> Vec<Facts> {
    sockets
        .iter()
        .map(|socket| (socket.address, socket.uid, socket.inode))
        .collect()
}

/// One line after the header, as columns.
struct Row(Vec<String>);

fn rows(file: &[u8]) -> Vec<Row> {
    let lines = file.split(|byte| *byte == b'\n').skip(1);
    let columns = |line| {
        String::from_utf8_lossy(line)
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    lines.map(|line| Row(columns(line))).collect()
}

impl Row {
    fn column(&self, index: usize) -> &str {
        self.0.get(index).map_or("", String::as_str)
    }

    fn socket(&self) -> Option<Facts> {
        let (uid, inode) = (self.column(7).parse().ok()?, self.column(9).parse().ok()?);
        Some((self.address(1)?, uid, inode))
    }

    fn address(&self, column: usize) -> Option<SocketAddr> {
        let mut parts = self.column(column).split(':');
        let (ip, port) = (parts.next()?, parts.next()?);
        // Words in the order of this machine's bytes, each of them written as a number.
        let words: Vec<u8> = (0..ip.len() / 8)
            .filter_map(|word| u32::from_str_radix(ip.get(word * 8..word * 8 + 8)?, 16).ok())
            .flat_map(u32::to_ne_bytes)
            .collect();
        let ip = match words.len() {
            4 => IpAddr::V4(Ipv4Addr::from(*words.first_chunk::<4>()?)),
            16 => IpAddr::V6(Ipv6Addr::from(*words.first_chunk::<16>()?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
    }
}
