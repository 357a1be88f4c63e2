//! What both programs share in talking to people: config diagnostics, text that is safe to show, tables and JSON,
//! exit codes, logging, and the local control socket. No policy, no network, nothing of ours beneath it.

pub mod control;
pub mod diagnose;
pub mod log;
pub mod output;
pub mod text;
