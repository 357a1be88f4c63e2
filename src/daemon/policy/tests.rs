//! Verdicts, and what is asked of Windows.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use wslnet_console::diagnose::Source;
use wslnet_protocol::{Bind, Protocol, Reach};

use super::{Decided, DecidedBy, Exposure, Outcome, Policy, Surroundings, Verdict, Way, wanted};
use crate::config::{self, ListenPort, selector_tests::selector_text};
use crate::labels::{Declared, labels_of};
use crate::listeners::Socket;
use crate::network::{Iface, NetworkMode, NetworkView};

mod addresses;
mod groups;
mod loopback;
mod modes;
mod properties;
mod rules;
mod udp;

const ETH0: u32 = 2;
const DOCKER0: u32 = 3;

/// A VM with eth0, by which Windows reaches it, and docker0.
fn view() -> NetworkView {
    let iface = |name: &str, addresses: &[(&str, u8)]| Iface {
        name: name.to_owned(),
        addresses: addresses
            .iter()
            .map(|(address, prefix)| (address.parse().unwrap(), *prefix))
            .collect(),
    };
    NetworkView {
        interfaces: [
            (1, iface("lo", &[("127.0.0.1", 8), ("::1", 128)])),
            (ETH0, iface("eth0", &[("172.20.0.2", 20), ("fd00::2", 64)])),
            (DOCKER0, iface("docker0", &[("172.17.0.1", 16)])),
        ]
        .into(),
        default_gateway_v4: Some(("172.20.0.1".parse().unwrap(), ETH0)),
        default_gateway_v6: Some(("fd00::1".parse().unwrap(), ETH0)),
        default_interfaces: [ETH0].into(),
    }
}

fn by_v4() -> Surroundings {
    Surroundings::new(&view(), NetworkMode::Nat, false)
}

fn by_v6() -> Surroundings {
    Surroundings::new(&view(), NetworkMode::Nat, true)
}

/// A socket with the id `id`. `[::]` is dual-stack.
fn socket(id: u64, address: &str) -> Socket {
    let address: SocketAddr = address.parse().unwrap();
    Socket {
        protocol: Protocol::Tcp,
        address,
        v6only: address.is_ipv6().then_some(false),
        uid: 1000,
        inode: id,
        cookie: Some(id),
        interface: None,
    }
}

fn v6only(id: u64, address: &str) -> Socket {
    Socket {
        v6only: Some(true),
        ..socket(id, address)
    }
}

fn on_device(id: u64, address: &str, interface: u32) -> Socket {
    Socket {
        interface: Some(interface),
        ..socket(id, address)
    }
}

fn policy(text: &str) -> Policy {
    let source = Source {
        name: "/etc/wslnetd/config.toml".to_owned(),
        text: text.to_owned(),
    };
    Policy::new(&config::parse(vec![source]).unwrap_or_else(|report| panic!("{report}")))
}

fn decide(policy: &Policy, socket: &Socket, surroundings: &Surroundings) -> Verdict {
    policy.decide(socket, &labels_of(socket, None), &Declared::Known, surroundings)
}

/// The reason, or `expose`.
fn reason(socket: &Socket, surroundings: &Surroundings) -> String {
    match decide(&policy(""), socket, surroundings) {
        Verdict::Expose(_) => "expose".to_owned(),
        Verdict::Withhold { reason, .. } | Verdict::Wait { reason } => reason,
    }
}

/// The ports of sockets under the policy of `config`: `PORT id BIND reach` or `PORT: reason`.
fn ports(config: &str, sockets: &[Socket], surroundings: &Surroundings) -> Vec<String> {
    let policy = policy(config);
    let verdicts: Vec<Verdict> = sockets
        .iter()
        .map(|socket| decide(&policy, socket, surroundings))
        .collect();
    let decided: Vec<Decided<'_>> = sockets
        .iter()
        .zip(&verdicts)
        .map(|(socket, verdict)| Decided { socket, verdict })
        .collect();
    wanted(&decided, surroundings)
        .into_iter()
        .map(|port| match port.outcome {
            Outcome::Wanted(wanted) => format!(
                "{} id {} {:?} {}",
                port.port.number, wanted.id, wanted.bind, wanted.reach
            ),
            Outcome::Withheld { reason } | Outcome::Waits { reason } => {
                format!("{}: {reason}", port.port.number)
            }
        })
        .collect()
}

/// The verdict about a socket with these labels beside its own.
fn with_labels(config: &str, socket: &Socket, labels: &[(&str, &str)], declared: &Declared) -> Verdict {
    let mut all = labels_of(socket, None);
    for (key, value) in labels {
        all.insert(*key, *value);
    }
    policy(config).decide(socket, &all, declared, &by_v4())
}

/// `expose WAY PORT reach NAME`, or why not; and what decided.
fn told(verdict: &Verdict) -> String {
    let by = verdict.decided_by().map(ToString::to_string).unwrap_or_default();
    match verdict {
        Verdict::Expose(Exposure {
            way,
            listen_port,
            reach,
            name,
            ..
        }) => {
            let name = name.as_deref().unwrap_or("-");
            format!("{way:?} {listen_port:?} {reach} {name} [{by}]")
        }
        Verdict::Withhold { reason, .. } => format!("{reason} [{by}]"),
        Verdict::Wait { reason } => format!("waits: {reason}"),
    }
}
