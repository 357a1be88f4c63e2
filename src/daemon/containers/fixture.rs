//! Listeners, and what engines told, for tests.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Instant;

use wslnet_protocol::Protocol;

use super::report::Answer;
use super::{Containers, Engine, EngineKind, list};
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
        owner: Some(Arc::new(Owner {
            holders: holders.iter().map(holder).collect(),
            uid,
            user: None,
            declared: Declared::Known,
        })),
        is_decided: true,
        labels: Labels::default(),
        since,
    }
}

/// The system's Docker is heard to have one container, with this published port, in answer to a question of this moment.
pub(crate) fn tell(containers: &mut Containers, name: &str, port: u16, asked: Instant) {
    let json = format!(
        r#"[{{"Id": "a", "Names": ["/{name}"], "Ports": [{{"IP": "0.0.0.0", "PublicPort": {port}, "Type": "tcp"}}]}}]"#
    );
    let list = list::parse(EngineKind::Docker, json.as_bytes()).expect("a list");
    let engine = Engine {
        kind: EngineKind::Docker,
        uid: 0,
    };
    containers.hear(engine, asked, Answer::List(list));
}
