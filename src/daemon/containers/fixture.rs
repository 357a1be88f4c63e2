//! Listeners for tests.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Instant;

use wslnet_protocol::Protocol;

use crate::labels::{Declared, Labels, Owner, Process};
use crate::listeners::Socket;
use crate::observe::Listener;

/// A TCP listener of processes with these names.
pub(super) fn listener(address: &str, uid: u32, holders: &[&str], since: Instant) -> Listener {
    let holder = |name: &&str| Process {
        pid: 7,
        start_time: 1,
        name: (*name).to_owned(),
        uid,
        ..Process::default()
    };
    Listener {
        socket: Socket {
            protocol: Protocol::Tcp,
            address: address.parse().expect("an address"),
            v6only: None,
            uid,
            inode: 5,
            cookie: Some(1),
            interface: None,
        },
        owner: Some(Owner {
            holders: holders.iter().map(holder).collect(),
            uid,
            user: None,
            declared: Declared::Known,
        }),
        labels: Labels::default(),
        since,
    }
}
