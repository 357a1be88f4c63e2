//! Examples for each rule of the plan. The model with random machines and bind failures is in `model`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod addresses;
mod backend;
mod bench;
mod elsewhere;
mod gap;
mod handover;
mod model;
mod networks;
mod refusals;
mod shared;
mod states;

use std::net::IpAddr;

use wslnet_protocol::{Bind, Forward, Protocol, Reach};

use self::bench::{Bench, auto, forward, interface, key, lan, listens, udp, with_gap};
use super::*;
use crate::ledger::Claim;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
