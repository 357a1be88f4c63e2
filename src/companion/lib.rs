//! `wslnet-companion`: what runs on Windows, and on Linux as the development and test host. It accepts what distros ask
//! for, merges it, plans what that means on this machine, and applies it.
//!
//! The rooms, in the order in which a request passes them: [`api`] accepts, [`engine`] is the one event loop, [`ledger`]
//! knows who wants what and for how long, [`plan`] turns wants into actions, [`apply`] executes them, [`host`] knows the
//! machine; [`firewall`] lets their clients through; [`names`] gives forwards names; `pair` lets a distro and this program learn each other's keys. [`ledger`], [`plan`], [`target`] and the values of [`config`] are pure: they do no I/O and take time as an
//! argument.

pub mod api;
pub mod apply;
mod bulletin;
pub mod capability;
pub mod cli;
pub mod client;
pub mod config;
pub mod control_address;
pub mod engine;
mod event_log;
pub mod firewall;
pub mod form;
pub mod host;
mod install;
pub mod ledger;
pub mod names;
mod pair;
pub mod paths;
pub mod plan;
pub mod purge;
mod run;
mod service;
mod stop;
pub mod target;
pub mod trust;

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
