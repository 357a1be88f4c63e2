//! Entries of Windows' portproxy: a line is an entry's name, the next what it connects to, the third an address. And the
//! journal of those that are ours.

use std::net::{IpAddr, SocketAddr};

use wslnet_companion::apply::portproxy::fuzzing::{found, journal, written};

use crate::printable::assert_line;

/// In how many of the four tables an entry of ours takes connections: to IPv4, and to IPv6.
const TABLES: usize = 2;

pub(super) fn target(bytes: &[u8]) {
    match journal(bytes) {
        Ok(ours) => ours.into_iter().for_each(ours_takes_its_own),
        Err(why) => assert_line(&why),
    }
    let mut lines = str::from_utf8(bytes).unwrap_or_default().split('\n');
    let (Some(name), Some(content)) = (lines.next(), lines.next()) else {
        return;
    };
    let Some(address) = lines.next().and_then(|line| line.parse::<SocketAddr>().ok()) else {
        return;
    };
    let [v4_to_v4, v4_to_v6, v6_to_v4, v6_to_v6] = found(name, content, address);
    for (_, shown) in [&v4_to_v4, &v4_to_v6, &v6_to_v4, &v6_to_v6] {
        assert_line(shown);
    }
    let takes = takes(name, address);
    assert_eq!(
        (v4_to_v4.0, v4_to_v6.0),
        (takes && address.is_ipv4(), takes && address.is_ipv4())
    );
    assert_eq!(
        (v6_to_v4.0, v6_to_v6.0),
        (takes && address.is_ipv6(), takes && address.is_ipv6())
    );
}

/// Whether an entry of that name in the right table is for this address or for all of them.
fn takes(name: &str, address: SocketAddr) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let [host @ .., port] = parts.as_slice() else {
        return false;
    };
    let host = host.join("/");
    let is_all = parts.len() > 1 && (host.is_empty() || host == "*");
    let is_it = |ip: IpAddr| ip == address.ip() || ip == IpAddr::from([0; 4]) || ip == IpAddr::from([0; 16]);
    port.parse() == Ok(address.port()) && (is_all || host.parse().is_ok_and(is_it))
}

/// What is written for an entry is found again, and nowhere else.
fn ours_takes_its_own((listen, connect): (SocketAddr, SocketAddr)) {
    let (name, content) = written(listen, connect);
    assert_line(&name);
    assert_line(&content);
    // A scope is no part of what the registry holds.
    let at = |port| SocketAddr::new(listen.ip(), port);
    let count = |address| {
        found(&name, &content, address)
            .iter()
            .filter(|(takes, _)| *takes)
            .count()
    };
    assert_eq!(count(at(listen.port())), TABLES);
    assert_eq!(count(at(!listen.port())), 0);
}
