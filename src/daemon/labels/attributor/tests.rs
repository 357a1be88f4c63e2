//! The attributor on a made-up /proc, where time and processes do what a test says, and on the real one.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod declared;
mod described;
mod grouped;
mod holders;
mod near;
mod real;
mod rhythm;
mod threads;
mod words;
mod world;

use wslnet_protocol::Protocol;

use self::world::World;
use super::*;

const LONG: Duration = Duration::from_secs(20);
const MS: Duration = Duration::from_millis(1);

/// Brings an owned socket to the age at which looks are rare; when the last one was.
fn settle(attributor: &mut Attributor, socket: &Socket, start: Instant) -> Instant {
    let calm = start + 120_000 * MS;
    for now in [start, calm] {
        assert!(attributor.attribute(std::slice::from_ref(socket), now)[0].is_some());
    }
    calm
}

/// With made-up time, an answer that a busy machine delays must not look like one that never comes, and what other processes of
/// the machine cost must not count.
fn patient(mut attributor: Attributor) -> Attributor {
    attributor.declarations.patience = LONG;
    patient_with_looks(attributor)
}

/// The same for looks into processes alone.
fn patient_with_looks(mut attributor: Attributor) -> Attributor {
    attributor.walks.weight = 0;
    attributor.patience = Patience {
        first: LONG,
        nobody: LONG,
        other: LONG,
    };
    attributor
}

fn names(owner: &Owner) -> Vec<&str> {
    owner.holders.iter().map(|holder| holder.name.as_str()).collect()
}

fn socket(inode: u64) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        address: "0.0.0.0:8000".parse().unwrap(),
        v6only: None,
        uid: 1000,
        inode,
        cookie: Some(if inode == 78 { 77 } else { inode }),
        interface: None,
    }
}
