//! `wslnetd`: what runs in each distro (Linux). It observes what listens, labels it, decides, and keeps the companion on
//! Windows in step.
//!
//! The rooms, in the order in which a listener passes them: [`listeners`] and [`network`] observe, [`labels`] says whose
//! a listener is, [`observe`] joins both on a thread of its own, [`policy`] decides, [`picture`] joins all that is known,
//! [`push`] tells Windows; [`report`], [`control`] and [`cli`] tell people; [`containers`] asks engines, [`units`] asks
//! systemd, [`bridge`] reaches loopback, [`hosts`] keeps names in `/etc/hosts`, [`wsl`] asks WSL; `pair` learns the companion's key, `doctor` looks what is wrong. [`policy`], [`picture`],
//! [`damper`] and [`report`] are pure: they do no I/O and take time as an argument.
#![cfg(target_os = "linux")]

#[cfg(test)]
mod allocations;
pub mod bridge;
pub mod cli;
pub mod config;
pub mod containers;
pub mod control;
pub mod damper;
mod doctor;
pub mod hosts;
pub mod labels;
#[cfg(test)]
mod left_out;
pub mod listeners;
mod memory;
#[cfg(test)]
mod namespace;
pub mod network;
pub mod observe;
mod pair;
pub mod picture;
pub mod policy;
pub mod push;
pub mod report;
pub mod run;
pub mod systemd;
pub mod units;
pub mod wsl;
