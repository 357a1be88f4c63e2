//! The targets, each a reader of bytes from outside.

mod accounts;
mod companion;
mod config;
mod containers;
mod control;
mod environ;
mod head;
mod hosts;
mod keys;
mod portproxy;
mod proc_net;
mod process;
mod protocol;
mod selector;
mod sock_diag;
mod text;
mod wish;
mod wsl;

/// A name, and what reads the bytes.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them, in the order in which they run.
pub(crate) const TARGETS: [Target; 18] = [
    ("config", config::target),
    ("selector", selector::target),
    ("companion", companion::target),
    ("keys", keys::target),
    ("sock-diag", sock_diag::target),
    ("proc-net", proc_net::target),
    ("process", process::target),
    ("environ", environ::target),
    ("accounts", accounts::target),
    ("containers", containers::target),
    ("hosts", hosts::target),
    ("portproxy", portproxy::target),
    ("protocol", protocol::target),
    ("head", head::target),
    ("control", control::target),
    ("wish", wish::target),
    ("wsl", wsl::target),
    ("text", text::target),
];
