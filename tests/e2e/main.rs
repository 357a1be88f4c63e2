//! The end-to-end tests: the real programs between network namespaces that stand for Windows, the VM and the local
//! network, judged from outside (who can connect to what), one module for each theme.
//!
//! One binary, so that one limit holds for all worlds that live at once. They need root; `scripts/test.sh` says what
//! else, and runs them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::expect_used, reason = "a test fails by panicking, and says why")]

mod bench;

mod address;
mod ceiling;
mod cli;
mod containers;
mod defaults;
mod distros;
mod doctor;
mod events;
mod expose;
mod failure;
mod firewall;
mod guide;
mod localhost;
mod loopback;
mod modes;
mod names;
mod networks;
mod pairing;
mod policy;
mod portproxy;
mod rules;
mod sandbox;
mod services;
mod shapes;
mod storm;
pub(crate) mod systemd;
mod udp;
mod wine;
