//! Listeners of services, and what was told of them, for tests.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use wslnet_protocol::Protocol;

use super::{Interest, Units};
use crate::labels::{Declared, Labels, Owner, Process};
use crate::listeners::Socket;
use crate::observe::Listener;

/// A process that started at this time, and is in these units, the innermost first.
pub(crate) fn holder(start_time: u64, units: &[&str]) -> Process {
    Process {
        pid: 7,
        start_time,
        name: "nginx".to_owned(),
        units: units.iter().map(|unit| (*unit).to_owned()).collect(),
        ..Process::default()
    }
}

/// A listener that these processes hold.
pub(crate) fn listener(since: Instant, holders: Vec<Process>) -> Listener {
    Listener {
        socket: Socket {
            protocol: Protocol::Tcp,
            address: (Ipv4Addr::UNSPECIFIED, 8080).into(),
            v6only: None,
            uid: 0,
            inode: 5,
            cookie: Some(1),
            interface: None,
        },
        owner: Some(Arc::new(Owner {
            holders,
            uid: 0,
            user: None,
            declared: Declared::Known,
        })),
        is_decided: true,
        labels: Labels::default(),
        since,
    }
}

/// The listener of one process of one service.
pub(crate) fn of_service(since: Instant, service: &str) -> Listener {
    listener(since, vec![holder(1, &[service])])
}

/// A service is told to say this, in answer to a question of this moment.
pub(crate) fn tell(units: &mut Units, service: &str, asked: Instant, says: Option<&str>) {
    let interest = Interest {
        since: asked,
        started: 1,
    };
    units.hear(service, interest, asked, Ok(says.map(str::to_owned)));
}

/// There was no answer to a question of this moment.
pub(crate) fn fail(units: &mut Units, service: &str, asked: Instant) {
    let interest = Interest {
        since: asked,
        started: 1,
    };
    units.hear(service, interest, asked, Err("no bus".to_owned()));
}
